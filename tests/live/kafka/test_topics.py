"""`ledger topics` makes and checks what workers need, and changes nothing that there is."""

import json
import uuid
from dataclasses import replace

import pytest

from ledger.log.kafka_place import Place
from ledger.topics import wanted
from tests.live.kafka.broker import Broker
from tests.live.kafka.calling import command, configure


@pytest.fixture
def nowhere(broker: Broker) -> Place:
    """A log that is not there yet."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    return Place(broker.bootstrap, prefix, partitions=2, replication=1)


def test_apply_makes_what_is_missing_once(nowhere: Place) -> None:
    """A start script may run it every time."""
    before = command(nowhere, "topics", "check")
    first = command(nowhere, "topics", "apply")
    again = json.loads(command(nowhere, "topics", "apply", "--json").out)

    assert before.code == 1
    assert f"{nowhere.prefix}-events is missing" in before.err
    assert (first.code, first.err) == (0, "")
    assert f"{nowhere.prefix}-events: created, 2 partitions, 1 replica" in first.out
    assert (again["ok"], again["created"], again["differing"]) == (True, [], [])
    assert list(again["topics"]) == list(wanted())
    assert command(nowhere, "topics", "check").code == 0


def test_what_differs_is_said_and_left_alone(place: Place) -> None:
    """A person decides: another retention may be meant, other partitions are never possible."""
    configure(place, "events", message_timestamp_type="CreateTime")
    said = [command(place, "topics", verb) for verb in ("apply", "check", "apply")]
    more = command(replace(place, partitions=8), "topics", "apply", "--json")

    assert [one.code for one in said] == [1, 1, 1]
    for one in said:
        assert "message.timestamp.type=CreateTime, topics.toml says LogAppendTime" in one.err
    found = json.loads(more.out)
    assert (more.code, found["ok"], found["created"]) == (1, False, [])
    assert sum("has 4 partitions, topics.toml says 8" in line for line in found["differing"]) == 3


def test_a_log_of_before_still_has_retention_and_hears_what_to_set(place: Place) -> None:
    """Kafka would delete what is not archived; it takes one command for each topic."""
    configure(place, "events", retention_ms="604800000")
    said = command(place, "topics", "apply")

    assert said.code == 1
    assert f"{place.topic('events')} has retention.ms=604800000, topics.toml says -1" in said.err
    assert f"--entity-name {place.topic('events')} --add-config retention.ms=-1" in said.err
    configure(place, "events")
    assert command(place, "topics", "check").code == 0


def test_what_the_brokers_refuse_is_a_sentence(nowhere: Place) -> None:
    """One broker holds no three copies."""
    said = command(replace(nowhere, replication=3), "topics", "apply")

    assert said.code == 2
    assert said.err.startswith("ledger: ")
    assert "replication factor of 3" in said.err
    assert "?replication=1" in said.err
