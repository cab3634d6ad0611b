"""What archivists delete from Kafka: what is archived, judged and old, and never anything else."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

import ledger
from ledger.log.kafka_asker import Asker
from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_trim import NotTrimmed, trim
from tests.clients import limits
from tests.live.kafka.archived import LOGS, archivists, fill, partitions_of, position
from tests.live.kafka.calling import command
from tests.live.kafka.chaos import Workers, ends_of, judged, url_of
from tests.waiting import wait_for

WAIT_S = 60.0
KEEP_MS = dict.fromkeys(LOGS, 0)
YEAR_KEPT = dict.fromkeys(LOGS, 365 * 86_400_000)
FAR = 10**6
"""As if the archive had far more than there is."""


@contextmanager
def judging(place: Place, folder: Path) -> Iterator[Workers]:
    """A judge, ended with the block."""
    (folder / "judges").mkdir(exist_ok=True)
    workers = Workers(place, folder / "judges")
    workers.start()
    try:
        yield workers
        workers.stop(workers.started)
    finally:
        workers.end()


def judge_all(place: Place, seed: int, batches: int = 3) -> None:
    """Events of every partition, once they are judged."""
    asyncio.run(fill(place, batches, seed=seed))
    ends = asyncio.run(ends_of(place))
    wait_for(lambda: judged(place, ends), WAIT_S, what="all to be judged", poll_s=0.3)


async def begins(place: Place) -> dict[tuple[str, int], int]:
    """The first offset that each partition of each archived topic still has."""
    async with Reader(place) as reader:
        return {
            (log, number): (await reader.bounds(place.topic(log), number))[0]
            for log in LOGS
            for number in range(partitions_of(place, log))
        }


async def needed(place: Place) -> dict[tuple[str, int], int]:
    """What the judges' last checkpoints need."""
    async with Asker(place) as asker:
        events = place.topic("events")
        heard = await asker.heard(group_of(place), events)
        offsets = await asker.judged(group_of(place), events)
    found = {("events", number): offset for number, offset in offsets.items()}
    return found | {("verdicts", number): one.pos for number, one in heard.items()}


def deleted(place: Place, archived: dict[tuple[str, int], int], now_ms: int = 2**42) -> int:
    """Trim as if all that is there were old."""
    return asyncio.run(trim(place, archived, keep_ms=KEEP_MS, now_ms=now_ms))


def test_nothing_is_deleted_before_its_judge_has_a_checkpoint(place: Place) -> None:
    """However much is archived: who judges first begins at the beginning."""
    asyncio.run(fill(place, 2, seed=40))
    everything = {(log, number): FAR for log in ("events", "verdicts") for number in range(4)}

    assert deleted(place, everything) == 0
    assert set(asyncio.run(begins(place)).values()) == {0}


def test_nothing_is_deleted_past_the_archive_or_a_checkpoint(place: Place, tmp_path: Path) -> None:
    """Each holds the other back; deleting again deletes nothing."""
    with judging(place, tmp_path):
        judge_all(place, seed=41)
    asyncio.run(fill(place, 2, seed=42))
    limit = asyncio.run(needed(place))
    archived = {("events", 0): 50, ("events", 1): FAR, ("verdicts", 1): FAR, ("events", 2): 0}
    count = deleted(place, archived)
    found = asyncio.run(begins(place))

    assert found["events", 0] == 50
    assert found["events", 1] == limit["events", 1] > 0
    assert found["verdicts", 1] == limit["verdicts", 1] > 0
    assert found["events", 2] == found["events", 3] == found["verdicts", 0] == 0
    assert count == 50 + limit["events", 1] + limit["verdicts", 1]
    assert deleted(place, archived) == 0


def test_what_is_young_is_kept_by_the_clock_of_the_log(place: Place, tmp_path: Path) -> None:
    """A machine that believes it is next year must not empty the log."""
    with judging(place, tmp_path):
        judge_all(place, seed=43)
    archived = {("events", 0): FAR}
    written_ms = asyncio.run(times(place))

    newest_ms = written_ms[-1]
    kept = sum(at_ms == newest_ms for at_ms in written_ms)

    assert deleted(place, archived, now_ms=written_ms[0]) == 0
    assert asyncio.run(trim(place, archived, keep_ms=YEAR_KEPT, now_ms=newest_ms)) == 0
    assert deleted(place, archived, now_ms=newest_ms) == len(written_ms) - kept > 0


async def times(place: Place) -> list[int]:
    """When the log took in each event of partition 0 (ms)."""
    async with Reader(place) as reader:
        topic = place.topic("events")
        begin, end = await reader.bounds(topic, 0)
        return [one.timestamp async for many in reader.read(topic, 0, begin, end) for one in many]


def test_a_group_that_a_person_moved_is_no_checkpoint(place: Place, tmp_path: Path) -> None:
    """Tools set offsets without the judges' note; nobody knows what judges need then."""
    with judging(place, tmp_path):
        judge_all(place, seed=44)
    asyncio.run(moved(place))

    assert deleted(place, {("events", 0): FAR, ("verdicts", 0): FAR}) == 0


async def moved(place: Place) -> None:
    """Set the group to the end of partition 0, as kafka-consumer-groups.sh does."""
    where = TopicPartition(place.topic("events"), 0)
    consumer = AIOKafkaConsumer(
        **place.client(), group_id=group_of(place), enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([where])
    end = (await consumer.end_offsets([where]))[where]
    await consumer.commit({where: end})
    await consumer.stop()


def test_what_cannot_be_deleted_is_said(place: Place) -> None:
    """Another log under the same name, or a right that is missing: the others are trimmed."""
    asyncio.run(nonsense(place, 20))
    with pytest.raises(
        NotTrimmed, match=r"nothing is deleted from .*; it is tried again"
    ) as problem:
        deleted(place, {("control", 0): FAR, ("refused", 0): 10})

    assert problem.value.topic == place.topic("control")
    assert asyncio.run(begins(place))["refused", 0] == 10


async def nonsense(place: Place, count: int) -> None:
    """So many records in two topics."""
    sender = producer(place)
    await sender.start()
    for log in ("control", "refused"):
        for number in range(count):
            await sender.send_and_wait(place.topic(log), b"%d" % number, b"k", partition=0)
    await sender.stop()


def test_a_fleet_lives_on_a_trimmed_log(place: Place, tmp_path: Path) -> None:
    """Two groups of archivists trim what they archive; runs, their policies and every answer stay.

    A judge that is started anew has only the checkpoints, and so knows the policy. An archivist
    that was frozen thaws with what it knew.
    """
    where, url = tmp_path / "archive", url_of(place)
    (tmp_path / "other").mkdir()
    keep = {"LEDGER_ARCHIVE_KEEP_MS": "0"}
    with (
        archivists(place, tmp_path, where, **keep) as ours,
        archivists(
            place, tmp_path / "other", where, LEDGER_ARCHIVE_GROUP="others", **keep
        ) as others,
        judging(place, tmp_path) as judges,
        ledger.connect(url, policy=limits()) as led,
    ):
        ours.start()
        others.start()
        with led.run("a long one", run="long") as run:
            run.output(output="o-1")
            led.flush()
            judge_all(place, seed=45)
            wait_for(
                lambda: trimmed(place, where), WAIT_S, what="the log to be trimmed", poll_s=0.5
            )
            others.freeze(1)
            judges.stop(1)
            judges.start()
            with (
                run.spawn("researcher", task="find sources") as agent,
                agent.tool_call("search", {}),
            ):
                pass
        with led.run("a new one", run="new") as run, run.spawn("writer", task="write it"):
            pass
        led.flush()
        others.thaw(1)
        judge_all(place, seed=46)
        assert trimmed(place, where)
        whole(place, where)

        assert "Traceback" not in ours.said() + others.said() + judges.said()
        assert "not archived" not in ours.said() + others.said()


def trimmed(place: Place, where: Path) -> bool:
    """Whether the events of each partition lost their beginning; none lost what is not archived."""
    found = asyncio.run(begins(place))
    for (log, number), begin in found.items():
        assert begin <= (position(where, log, number) or 0)
    return all(begin > 0 for (log, _), begin in found.items() if log == "events")


def whole(place: Place, where: Path) -> None:
    """Archive and tail together have every event and both runs, and replay is equal."""

    def ask(*words: str) -> str:
        said = command(place, "--archive", str(where), *words)
        assert said.code == 0, said
        return said.out

    before = sum(asyncio.run(ends_of(place)))
    count = json.loads(ask("sql", "select count(*) as n from events", "--json"))[0]["n"]
    runs = json.loads(ask("sql", "select run from runs where run in ('long', 'new')", "--json"))
    replayed = json.loads(ask("replay", "--all", "--json"))

    assert before <= count <= sum(asyncio.run(ends_of(place)))  # Deadlines make events too.
    assert sorted(one["run"] for one in runs) == ["long", "new"]
    assert (replayed["equal"], replayed["lost"], replayed["headless"]) == (True, 0, 0)
    assert ask("archive", "verify").endswith("whole\n")
