"""One broker for all live tests on Kafka, and a log of its own for each."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from tests.live.kafka.broker import Broker, running

PARTITIONS = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs them all: they share a broker."""
    for item in items:
        if "live/kafka" in item.path.as_posix():
            item.add_marker(pytest.mark.xdist_group("kafka"))
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running() as broker:
        yield broker


@pytest.fixture
def place(broker: Broker) -> Place:
    """A new log with four partitions."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    place = Place(broker.bootstrap, prefix, partitions=PARTITIONS, replication=1)
    created, wrong = asyncio.run(apply(place))
    assert len(created) == 6
    assert not wrong
    return place
