"""Checkpoints and events that are gone: folded again where that is possible, else said and stopped.

A person may accept a loss; then, and only then, judging goes on behind the hole.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from ledger.core.codec import dump_run
from ledger.judge.checkpoint import MARKER
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_lost import Lost, uncovered
from ledger.log.kafka_place import Place
from ledger.log.kafka_refused import lost
from ledger.log.kafka_verdicts import Heard
from ledger.processors.continuity import EventsLost
from tests.live.kafka.calling import command
from tests.live.kafka.test_refused import listed
from tests.live.kafka.test_take_over import GROUP, both, feed, fill, judge, make_anew
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.truth import kept
from tests.live.kafka.workers import UP_S, free_port, health, working
from tests.waiting import wait_for


def traffic_of(place: Place, seed: int) -> Traffic:
    """What a fleet would publish to partition 0."""
    return Traffic(0, place.partitions or 0, seed)


async def judged(place: Place) -> tuple[int, dict[str, bytes]]:
    """Judge partition 0 to its end: the next offset, and the runs."""
    async with judge(place) as partition:
        await feed(place, partition)
        await partition.checkpoint()
        runs = {run: dump_run(held) for run, held in partition.memory.state.runs.items()}
        return partition.memory.next_offset, runs


async def trim(place: Place, below: int, short: str = "events") -> None:
    """Delete what is below an offset in partition 0 of a topic, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    where = TopicPartition(place.topic(short), 0)
    await admin.delete_records({where: RecordsToDelete(before_offset=below)})
    await admin.close()


def test_without_checkpoints_all_is_folded_again(place: Place) -> None:
    """Somebody deleted the topic: verdicts that were published stay, nothing is decided anew, and
    the next generation is above every one that was announced."""

    async def story() -> None:
        traffic = traffic_of(place, 21)
        await fill(place, traffic, 5)
        for _ in range(3):
            end, before = await judged(place)
        await make_anew(place, "checkpoints")
        async with judge(place) as partition:
            assert partition.memory.next_offset == 0
            assert partition.marker.generation == 4
        again, after = await judged(place)
        await fill(place, traffic, 5)
        await judged(place)
        ours, plain = await both(place)

        assert (again, after) == (end, before)
        assert ours == plain

    asyncio.run(story())


@pytest.mark.parametrize("row", [b"[99, what]", b"{}", b'{"offset":"x","proof":[1,2,3]}', None])
def test_a_poisoned_marker_is_no_marker(place: Place, row: bytes | None) -> None:
    """Rows without one may be ahead of anything: they are left, and all is folded again."""

    async def story() -> None:
        await fill(place, traffic_of(place, 22), 5)
        end, before = await judged(place)
        poisoner = Checkpoints(place, GROUP, 0)
        await poisoner.open()
        await poisoner.write({MARKER: row})
        await poisoner.commit(0, Heard(0, 0))
        await poisoner.close()

        assert await judged(place) == (end, before)
        ours, plain = await both(place)
        assert ours == plain

    asyncio.run(story())


def test_rows_without_a_marker_are_removed(place: Place) -> None:
    """Else whoever comes after the next judge finds them beside that one's marker, and believes
    them."""

    async def story() -> None:
        await fill(place, traffic_of(place, 26), 5)
        await judged(place)
        poisoner = Checkpoints(place, GROUP, 0)
        await poisoner.open()
        await poisoner.write({MARKER: None})
        await poisoner.commit(0)
        await poisoner.close()
        async with judge(place):
            pass
        async with judge(place) as partition:
            assert partition.memory.state.runs == {}

    asyncio.run(story())


def test_runs_whose_verdicts_are_trimmed_have_ended(place: Place) -> None:
    """Without a checkpoint nobody knows what they were granted. Those that began later go on."""

    async def story() -> None:
        traffic = traffic_of(place, 27)
        await fill(place, traffic, 8)
        _, before = await judged(place)
        await trim(place, 100, "verdicts")
        await make_anew(place, "checkpoints")
        async with judge(place) as partition:
            await feed(place, partition, at_most=50)
            await partition.checkpoint()
        _, after = await judged(place)
        ours = await kept(place, GROUP, 0)

        assert 0 < len(after) < len(before)
        assert after == {run: before[run] for run in after}
        assert before.keys() - after.keys() <= ours.ended

    asyncio.run(story())


def test_a_generation_that_was_announced_long_ago_is_not_claimed_again(place: Place) -> None:
    """A judge may hold a partition for longer than its announcement is kept; of two with one
    generation both would count."""

    async def story() -> int:
        await fill(place, traffic_of(place, 25), 5)
        async with judge(place) as partition:
            pass
        async with judge(place) as partition:
            await feed(place, partition)
        await trim(place, 2, "verdicts")
        await make_anew(place, "checkpoints")
        async with judge(place) as partition:
            return partition.marker.generation

    assert asyncio.run(story()) == 3


def test_a_hole_stops_until_a_person_accepts_it(place: Place) -> None:
    """The range is named, in words that can be pasted; what is there cannot be given up."""

    async def lose() -> tuple[int, int]:
        traffic = traffic_of(place, 23)
        await fill(place, traffic, 3)
        end, _ = await judged(place)
        await fill(place, traffic, 5)
        await trim(place, end + 150)
        return end, end + 149

    async def stopped() -> EventsLost:
        with pytest.raises(EventsLost) as problem:
            async with judge(place):
                pass
        return problem.value

    first, last = asyncio.run(lose())
    problem = asyncio.run(stopped())
    accept = ("topics", "accept-loss", "0")
    too_much = command(place, *accept, str(first), str(last + 1), "--reason", "greed")
    a_part = command(place, *accept, str(first), str(first + 9), "--reason", "disk", "--by", "Ada")
    still = asyncio.run(stopped())
    the_rest = command(
        place, *accept, str(first + 10), str(last), "--reason", "disk", "--by", "Ada"
    )
    end, runs = asyncio.run(judged(place))
    written = listed(place, "--reason", "range_lost")[::-1]

    assert (problem.first, problem.last) == (first, last)
    assert f"`ledger topics accept-loss 0 {first} {last} --reason ...`" in str(problem)
    assert (too_much.code, a_part.code, the_rest.code) == (2, 0, 0)
    assert f"begins at offset {last + 1}" in too_much.err
    assert (still.first, still.last) == (first + 10, last)
    assert end > last + 1
    assert runs
    assert [row["offset"] for row in written] == [first, first + 10]
    assert {row["source"] for row in written} == {"Ada"}
    assert written[0]["reason"] == (
        f"range_lost: offsets {first} to {first + 9} are accepted as lost: disk"
    )


def test_a_worker_says_it_and_goes_on_by_itself(place: Place, tmp_path: Path) -> None:
    """One partition stands, the others are judged; nobody restarts anything."""

    async def lose() -> None:
        await fill(place, traffic_of(place, 24), 3)
        await trim(place, 100)

    asyncio.run(lose())
    port = free_port()
    with working(place, tmp_path, "--web-port", str(port)) as worker:
        found = wait_for(lambda: _stopped(port), UP_S, what="the partition to be stopped")
        worker.said("judging 1-3 of 4 partitions")
        command(place, "topics", "accept-loss", "0", "0", "99", "--reason", "a test")
        worker.said("judging 0-3 of 4 partitions")
        wait_for(lambda: health(port).get("ok"), UP_S, what="it to be well")

        assert worker.end() == 0
    assert found["status"] == 503
    assert "offsets 0 to 99 are gone" in found["problems"][0]
    assert worker.err.count("offsets 0 to 99 are gone") == 1


def _stopped(port: int) -> dict[str, Any]:
    found = health(port)
    problems = found.get("problems", [])
    return found if len(problems) == 1 and "accept-loss" in problems[0] else {}


@pytest.mark.parametrize(
    ("accepted", "left"),
    [
        ([], [(5, 9)]),
        ([(5, 9)], []),
        ([(0, 20)], []),
        ([(5, 8)], [(9, 9)]),
        ([(6, 9)], [(5, 5)]),
        ([(8, 9), (5, 7)], []),
        ([(5, 6), (8, 9)], [(7, 7)]),
        ([(6, 6), (8, 8)], [(5, 5), (7, 7), (9, 9)]),
        ([(0, 3), (4, 12)], []),
        ([(0, 3), (12, 14)], [(5, 9)]),
    ],
)
def test_a_loss_may_be_accepted_in_parts(
    accepted: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert uncovered([Lost(0, *one) for one in accepted], 5, 9) == left


def test_each_topic_has_losses_of_its_own(place: Place) -> None:
    """Verdicts that are gone excuse no judge whose events are gone; a range may be said again,
    longer."""

    async def lose() -> None:
        await fill(place, traffic_of(place, 25), 3)
        await trim(place, 100)

    asyncio.run(lose())
    accept = ("topics", "accept-loss")
    of_events = [command(place, *accept, "0", "0", n, "--reason", "disk") for n in ("49", "99")]
    none = command(place, *accept, "0", "0", "0", "--reason", "no", "--topic", "verdicts")
    nowhere = command(place, *accept, "1", "0", "0", "--reason", "no", "--topic", "control")
    lost_events = asyncio.run(lost(place, "events", 0))

    assert [one.code for one in of_events] == [0, 0]
    assert none.code == nowhere.code == 2
    assert f"{place.topic('verdicts')} partition 0 begins at offset 0" in none.err
    assert "has the partitions 0 to 0, not 1" in nowhere.err
    assert [(one.first, one.last) for one in lost_events] == [(0, 49), (0, 99)]
    assert lost_events[1].reason == "range_lost: offsets 0 to 99 are accepted as lost: disk"
    assert asyncio.run(lost(place, "verdicts", 0)) == []
