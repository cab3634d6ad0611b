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
GROUPS = {
    "long": {"test_broker_away", "test_brokers", "test_chaos", "test_kill_worst", "test_upgrade"},
    "archive": {
        "test_archivist", "test_archivist_asked", "test_archivist_chaos", "test_archivist_health",
        "test_archivist_holes", "test_archivist_s3", "test_from_archive", "test_loss",
        "test_trimming",
    },
}  # fmt: skip
"""Files that run beside all the others, with a broker of their own, as they take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each group is run by one worker, which has one broker for all of it."""
    for item in items:
        if "live/kafka" in item.path.as_posix():
            group = next((name for name, stems in GROUPS.items() if item.path.stem in stems), "")
            item.add_marker(pytest.mark.xdist_group(f"kafka-{group}"))
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
