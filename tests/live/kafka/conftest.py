"""One broker for all live tests on Kafka, and a log of its own for each."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from tests.live.kafka.broker import Broker, running
from tests.live.kafka.doors import Doors

PARTITIONS = 4
LONG = {"test_broker_away", "test_brokers", "test_chaos", "test_kill_worst", "test_upgrade"}
"""Files that take minutes: they run beside all the others, with a broker of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs the short ones, one the long ones: each has one broker for all of them."""
    for item in items:
        if "live/kafka" in item.path.as_posix():
            group = "kafka-long" if item.path.stem in LONG else "kafka"
            item.add_marker(pytest.mark.xdist_group(group))
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running() as broker:
        yield broker


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Of a broker that lets in only whom it knows."""
    with running(1, "--secured") as broker:
        yield Doors(broker)


@pytest.fixture
def place(broker: Broker) -> Place:
    """A new log with four partitions."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    place = Place(broker.bootstrap, prefix, partitions=PARTITIONS, replication=1)
    created, wrong = asyncio.run(apply(place))
    assert len(created) == 6
    assert not wrong
    return place
