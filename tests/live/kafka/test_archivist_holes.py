"""Records that Kafka lost before they were archived: nobody steps over them without a word."""

import asyncio
import json
from pathlib import Path

import pytest

from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from tests.cli.calling import Said
from tests.live.kafka.archived import (
    archivists,
    caught_up,
    fill,
    in_archive,
    in_topic,
    position,
    trim,
)
from tests.live.kafka.calling import command
from tests.live.kafka.chaos import Workers, ends_of, judged
from tests.waiting import wait_for

SAID_S = 60.0


def accept(place: Place, first: int, last: int, log: str = "events") -> Said:
    """A person says that this is gone from partition 0."""
    range_ = ("0", str(first), str(last))
    return command(
        place, "topics", "accept-loss", *range_, "--topic", log, "--reason", "a disk", "--by", "Ada"
    )


def archived(place: Place, where: Path, workers: Workers) -> int:
    """Archive what there is and end the archivist; where partition 0 of the events stands then."""
    workers.start()
    caught_up(place, where, workers)
    workers.stop(workers.started)
    found = position(where, "events")
    assert found
    return found


def test_a_hole_stops_its_partition_until_a_person_accepts_it(place: Place, tmp_path: Path) -> None:
    """The others go on, the words can be pasted, nobody restarts anything; then it is proved."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 2, seed=20))
    with archivists(place, tmp_path, where) as workers:
        first = archived(place, where, workers)
        asyncio.run(fill(place, 4, seed=21))
        last = first + 149
        asyncio.run(trim(place, "events", 0, last + 1))
        workers.start()
        words = f"`ledger topics accept-loss 0 {first} {last} --reason ...`"
        wait_for(lambda: words in workers.said(), SAID_S, what="it to say what is missing")
        wait_for(lambda: (position(where, "events", 1) or 0) > first, SAID_S, what="the others")
        stopped = position(where, "events")
        asked = [ask(place, where, *words) for words in (("sql", "from runs"), ("archive", "now"))]
        accept(place, first, first + 9)
        accept(place, first + 10, last)
        caught_up(place, where, workers)
        assert workers.stop(workers.started) == 0
        assert "Traceback" not in workers.said()
        assert workers.said().count(words) == 1

    assert stopped == first
    assert [one.code for one in asked] == [2, 2]
    assert all(words in one.err for one in asked)
    proved(place, where, first, last)


def ask(place: Place, where: Path, *words: str) -> Said:
    """A command on this log and archive."""
    return command(place, "--archive", str(where), *words)


def proved(place: Place, where: Path, first: int, last: int, log: str = "events") -> None:
    """All that is in the topic is archived, the hole is told, the rest is as ever."""
    there = {row[0] for row in asyncio.run(in_topic(place, log, 0))}
    ours = {row[0] for row in in_archive(where)[log, 0]}
    shown = ask(place, where, "archive", "verify")
    found = json.loads(ask(place, where, "archive", "verify", "--json").out)

    assert there <= ours
    assert not ours & set(range(first, last + 1))
    assert (shown.code, shown.err) == (0, "")
    assert f"{last - first + 1} records lost" in shown.out
    assert f"{log} {first}: range_lost: offsets {first} to " in shown.out
    assert "are accepted as lost: a disk" in shown.out
    assert shown.out.endswith("whole\n")
    assert (found["ok"], found["problems"]) == (True, [])
    assert {(one["log"], one["partition"]) for one in found["accepted"]} == {(log, 0)}
    assert found["accepted"][0]["first"] == first
    assert found["accepted"][-1]["last"] == last


@pytest.mark.parametrize("log", ["verdicts", "control", "refused"])
def test_each_topic_goes_on_behind_what_was_accepted_of_it(
    place: Place, tmp_path: Path, log: str
) -> None:
    """Judges wait for events only; the archive lacks whatever is gone."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 1, seed=22))
    asyncio.run(nonsense(place, log, 30))
    asyncio.run(trim(place, log, 0, 20))
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        words = f"accept-loss 0 0 19 --topic {log} --reason"
        wait_for(lambda: words in workers.said(), SAID_S, what="it to say what is missing")
        accept(place, 0, 19, log)
        caught_up(place, where, workers)
        workers.stop(workers.started)

    proved(place, where, 0, 19, log)
    assert ask(place, where, "sql", "from runs").code == 0


async def nonsense(place: Place, log: str, count: int) -> None:
    """So many records in partition 0 of a topic, a few at a time."""
    sender = producer(place)
    await sender.start()
    for number in range(count):
        await sender.send_and_wait(place.topic(log), b"%d" % number, b"k", partition=0)
    await sender.stop()


def test_two_that_race_behind_a_hole_archive_it_once(place: Place, tmp_path: Path) -> None:
    """Two groups hold every partition, and somebody drains: the table takes one segment."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 2, seed=23))
    asyncio.run(trim(place, "events", 0, 60))
    (tmp_path / "other").mkdir()
    with (
        archivists(place, tmp_path, where) as ours,
        archivists(place, tmp_path / "other", where, LEDGER_ARCHIVE_GROUP="others") as others,
    ):
        ours.start()
        others.start()
        words = "accept-loss 0 0 59"
        wait_for(lambda: words in ours.said(), SAID_S, what="us to say what is missing")
        wait_for(lambda: words in others.said(), SAID_S, what="the others to")
        accept(place, 0, 59)
        drained = ask(place, where, "archive", "now")
        asyncio.run(fill(place, 2, seed=24))
        caught_up(place, where, ours)

    assert drained.code == 0
    proved(place, where, 0, 59)


def test_a_question_goes_on_behind_a_loss_before_the_archive_does(
    place: Place, tmp_path: Path
) -> None:
    """Nothing may come behind the hole for a while, and nobody may be archiving.

    Who asks without an archive is told to name it, and not to give up what it has.
    """
    asyncio.run(fill(place, 1, seed=25))
    asyncio.run(trim(place, "events", 0, 40))
    where = tmp_path / "archive"
    before = ask(place, where, "sql", "from runs")
    accept(place, 0, 39)
    after = ask(place, where, "sql", 'select min("offset") from events where "partition" = 0')

    assert before.code == 2
    assert "begins at 40" in before.err
    assert "name the archive that has them (--archive)" in before.err
    assert "accept-loss" not in before.err
    assert after.code == 0
    assert "40" in after.out


def test_a_new_archive_of_a_log_that_was_trimmed_is_begun_by_a_person(
    place: Place, tmp_path: Path
) -> None:
    """Every partition that is short of its beginning, also one in which nothing is left."""
    where = tmp_path / "archive"
    asyncio.run(fill(place, 1, seed=26))
    asyncio.run(nonsense(place, "control", 30))
    asyncio.run(trim(place, "events", 0, 40))
    asyncio.run(trim(place, "control", 0, 30))
    with archivists(place, tmp_path, where) as workers:
        workers.start()
        words = "begin it behind that: `ledger archive begin --reason ...`"
        wait_for(lambda: workers.said().count(words) == 2, SAID_S, what="it to say what to do")
        begun = ask(place, where, "archive", "begin", "--reason", "it began late")
        again = ask(place, where, "archive", "begin", "--reason", "it began late")
        asyncio.run(nonsense(place, "control", 3))
        caught_up(place, where, workers)
        workers.stop(workers.started)
    shown = ask(place, where, "archive", "verify")

    assert (begun.code, again.code) == (0, 0)
    assert f"events begins at 40 in {where}" in begun.out
    assert f"control begins at 30 in {where}" in begun.out
    assert "has the beginning of each partition, or says why not" in again.out
    assert (shown.code, shown.err) == (0, "")
    assert "events 0: the archive begins at 40: it began late" in shown.out
    assert {row[0] for row in in_archive(where)["control", 0]} == {30, 31, 32}


def test_runs_that_lost_events_or_verdicts_replay_as_far_as_they_can(
    place: Place, tmp_path: Path
) -> None:
    """They were judged, then Kafka lost them: no difference of the rules, and no traceback."""
    where = tmp_path / "archive"
    (tmp_path / "judges").mkdir()
    judges = Workers(place, tmp_path / "judges")
    try:
        judges.start()
        with archivists(place, tmp_path, where) as workers:
            judge_all(place, seed=30)
            first = archived(place, where, workers)
            said = position(where, "verdicts") or 0
            judge_all(place, seed=31)
            for log, begin, count in (("events", first, 50), ("verdicts", said, 10)):
                asyncio.run(trim(place, log, 0, begin + count))
                accept(place, begin, begin + count - 1, log)
            archived(place, where, workers)
    finally:
        judges.end()
    replayed = ask(place, where, "replay", "--all", "--json")
    words = ask(place, where, "replay", "--all")
    found = json.loads(replayed.out)

    assert (replayed.code, words.code) == (0, 0)
    assert (found["equal"], found["lost"]) == (True, 50)
    assert found["compared"] > 100
    assert found["torn"] + found["headless"] > 0
    assert "50 events are lost" in words.out
    assert ask(place, where, "sql", "from runs").code == 0


def judge_all(place: Place, seed: int) -> None:
    """A few hundred events of every partition, once they are judged."""
    asyncio.run(fill(place, 3, seed=seed))
    ends = asyncio.run(ends_of(place))
    wait_for(lambda: judged(place, ends), SAID_S, what="all to be judged", poll_s=0.3)


pytestmark = pytest.mark.live
