"""The topics of a ledger on Kafka as data: complete, safe, and the same file in both places."""

from dataclasses import replace

import pytest

from ledger.topics import Topic, differences, wanted
from tests.wheel import ROOT


def there(topic: Topic) -> dict[str, object]:
    """What a broker says of a topic that is as it should be; it names more settings than ours."""
    return {
        "partitions": topic.partitions,
        "replication": topic.replication,
        "settings": {**topic.settings, "flush.ms": "9223372036854775807"},
    }


def complaints(topic: Topic, found: dict[str, object]) -> list[str]:
    return differences(topic, **found)  # type: ignore[arg-type]


def test_the_file_in_infra_is_the_one_that_ships() -> None:
    """An installed worker checks what an operator read."""
    assert (ROOT / "infra/topics.toml").read_bytes() == (ROOT / "ledger/topics.toml").read_bytes()


def test_there_are_the_topics_that_the_design_names() -> None:
    names = "events verdicts control checkpoints refused policies"

    assert list(wanted()) == names.split()
    assert wanted("acme")["events"].name == "acme-events"


@pytest.mark.parametrize("short", wanted())
def test_every_topic_keeps_what_was_acknowledged(short: str) -> None:
    """Invariant 1: the death of any one broker loses nothing, and nobody behind takes over."""
    topic = wanted()[short]

    assert topic.replication == 3
    assert topic.settings["min.insync.replicas"] == "2"
    assert topic.settings["unclean.leader.election.enable"] == "false"
    assert topic.settings["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize("short", ["events", "verdicts", "control", "refused"])
def test_kafka_deletes_nothing_that_is_archived(short: str) -> None:
    """It would not know what is archived; archivists do, and delete it when it is old."""
    topic = wanted()[short]

    assert topic.settings["retention.ms"] == topic.settings["retention.bytes"] == "-1"
    assert (topic.keep_ms or 0) >= 7 * 86_400_000


@pytest.mark.parametrize("short", ["checkpoints", "policies"])
def test_what_has_a_newest_row_is_compacted_and_never_trimmed(short: str) -> None:
    """Live runs, and policies that they name, may be as old as they like."""
    topic = wanted()[short]

    assert topic.settings["cleanup.policy"] == "compact"
    assert topic.keep_ms is None


@pytest.mark.parametrize(("replication", "insync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_fewer_replicas_need_fewer_in_sync(replication: int, insync: str) -> None:
    """With as many needed as there are, one restart would stop every writer."""
    topic = wanted(replication=replication)["events"]

    assert topic.settings["min.insync.replicas"] == insync


def test_what_belongs_to_a_run_has_the_same_number_of_partitions() -> None:
    """A verdict stands in its run's partition; control does not, every client reads it whole."""
    topics = wanted(partitions=7)

    assert [topics[short].partitions for short in ("events", "verdicts", "checkpoints")] == [7] * 3
    assert topics["control"].partitions == 1


def test_a_topic_as_wanted_is_not_complained_of() -> None:
    for topic in wanted().values():
        assert complaints(topic, there(topic)) == []


@pytest.mark.parametrize("name", wanted()["checkpoints"].settings)
def test_every_setting_that_differs_is_named(name: str) -> None:
    """With the value there is, the one there should be, and what to do."""
    topic = wanted()["checkpoints"]
    found = there(replace(topic, settings={**topic.settings, name: "strange"}))

    (complaint,) = complaints(topic, found)

    assert name in complaint
    assert "strange" in complaint
    assert topic.settings[name] in complaint
    assert "--alter" in complaint


def test_another_number_of_partitions_is_never_to_be_changed() -> None:
    """Growing it would put a run into two partitions, with two budgets (PROTOCOLS 7)."""
    topic = wanted()["events"]

    (complaint,) = complaints(topic, there(replace(topic, partitions=33)))

    assert "33" in complaint
    assert "fixed for a log's life" in complaint
