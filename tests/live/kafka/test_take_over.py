"""Who takes a partition over goes on exactly where it was left, and whoever had it is nobody."""

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from ledger.core.codec import dump_run
from ledger.core.lifecycle import FOLD_VERSION
from ledger.judge.checkpoint import MARKER
from ledger.log import JudgeTooOld
from ledger.log.kafka_checkpoints import Checkpoints, NotOwner
from ledger.log.kafka_outbox import Letter, Outbox, OutboxFailed, Producers, producer
from ledger.log.kafka_place import Place, group_of
from ledger.log.kafka_reader import Reader
from ledger.log.kafka_topics import TopicsWrong, apply, check
from ledger.processors.app import create_app
from ledger.processors.continuity import LogBroken
from ledger.processors.marker import Marker
from ledger.processors.partition import Partition, PartitionMemory, Shared
from ledger.processors.takeover import take_over
from tests.live.kafka.chaos import Workers
from tests.live.kafka.traffic import Traffic
from tests.live.kafka.truth import Truth, folded, kept
from tests.waiting import wait_for

GROUP = "judges"


async def fill(place: Place, traffic: Traffic, batches: int) -> None:
    """Write batches of events to the traffic's partition."""
    sender = producer(place)
    await sender.start()
    for _ in range(batches):
        batch = sender.create_batch()
        for key, value in traffic.batch():
            batch.append(timestamp=None, key=key, value=value)
        sent = await sender.send_batch(batch, place.topic("events"), partition=traffic.partition)
        traffic.wrote((await sent).offset)
    await sender.stop()


@asynccontextmanager
async def judge(place: Place) -> AsyncIterator[Partition]:
    """Partition 0 in the hands of a new judge."""
    partition = await take_over(place, GROUP, 0, partitions=place.partitions or 0, failing={})
    try:
        yield partition
    finally:
        await partition.close()


async def feed(place: Place, partition: Partition, at_most: int = 10**9) -> None:
    """All that there is, or `at_most` so many offsets, as a feed gives it."""
    async with Reader(place) as reader:
        topic = place.topic("events")
        begin = partition.memory.next_offset
        end = min((await reader.bounds(topic, 0))[1], begin + at_most)
        async for records in reader.read(topic, 0, begin, end):
            await partition.ready(records)
            partition.fold(records)
    await partition.settle()


async def both(place: Place) -> tuple[Truth, Truth]:
    """What the judges left, and a plain fold of the same."""
    ours = await kept(place, GROUP, 0)
    return replace(ours, repeated=0), await folded(place, 0, place.partitions or 0, ours.end)


def test_judges_in_turn_leave_what_one_would(place: Place) -> None:
    """Each restores what the one before it wrote down, and decides nothing twice."""

    async def story() -> None:
        traffic = Traffic(0, place.partitions or 0, seed=1)
        for _ in range(3):
            await fill(place, traffic, 5)
            async with judge(place) as partition:
                await feed(place, partition)
                await partition.checkpoint()
        ours, plain = await both(place)

        assert ours == plain

    asyncio.run(story())


def test_what_was_said_without_a_checkpoint_is_not_decided_anew(place: Place) -> None:
    """A judge dies between its verdicts and its checkpoint: who comes next applies them."""

    async def story() -> None:
        await fill(place, Traffic(0, place.partitions or 0, seed=2), 5)
        async with judge(place) as first:
            await feed(place, first)
            said = dict.fromkeys(first.memory.state.runs)
        async with judge(place) as second:
            assert not second.caught_up

            await feed(place, second)

            assert second.memory.state.runs.keys() == said.keys()
            assert second.caught_up
            await second.checkpoint()
        ours, plain = await both(place)

        assert ours == plain

    asyncio.run(story())


def test_a_judge_that_was_replaced_can_say_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A zombie: thawed after another took over, it folds, publishes, and nobody listens."""

    async def story() -> None:
        traffic = Traffic(0, place.partitions or 0, seed=3)
        await fill(place, traffic, 5)
        async with judge(place) as zombie:
            await feed(place, zombie)
            async with judge(place) as owner:
                await fill(place, traffic, 5)
                await feed(place, zombie)
                with pytest.raises(NotOwner):
                    await zombie.checkpoint()
                await feed(place, owner)
                await owner.checkpoint()
                ours = await kept(place, GROUP, 0)
        plain = await folded(place, 0, place.partitions or 0, ours.end)

        assert ours.repeated > 0
        assert replace(ours, repeated=0, refused=set()) == replace(plain, refused=set())

    asyncio.run(story())
    gc.collect()

    assert "never retrieved" not in caplog.text


def test_where_a_higher_version_has_judged_a_lower_one_does_not(place: Place) -> None:
    """It says so, and is not cancelled: a task that just ends leaves the partition to nobody.
    A worker looks before it joins the group, so that one started again and again disturbs none."""
    group = group_of(place)

    async def story() -> None:
        await create_app(place).prepare()
        marker = Marker(version=FOLD_VERSION + 1)
        higher = Checkpoints(place, group, 0)
        await higher.open()
        await higher.write({MARKER: marker.row()})
        await higher.commit(0, marker.note())
        await higher.close()
        said = f"deciding version {FOLD_VERSION + 1} has judged"
        with pytest.raises(JudgeTooOld, match=said):
            await take_over(place, group, 0, partitions=place.partitions or 0, failing={})
        with pytest.raises(JudgeTooOld, match=said):
            await create_app(place).prepare()

    asyncio.run(story())


def test_a_reader_may_end_at_once(place: Place) -> None:
    async def story() -> str:
        async with Reader(place):
            pass
        return "not cancelled"

    assert asyncio.run(story()) == "not cancelled"


def test_a_poisoned_checkpoint_is_folded_again(place: Place) -> None:
    """Rows that cannot be read cost time, and change nothing."""

    async def story() -> None:
        await fill(place, Traffic(0, place.partitions or 0, seed=4), 10)
        async with judge(place) as partition:
            await feed(place, partition)
            await partition.checkpoint()
            true = {run: dump_run(held) for run, held in partition.memory.state.runs.items()}
        poisoner = Checkpoints(place, GROUP, 0)
        await poisoner.open()
        rows = await poisoner.load()
        bad = sorted(true)[:3]
        await poisoner.write(dict.fromkeys(bad, b"[99, what]"))
        await poisoner.commit(Marker.of(rows[MARKER]).offset)
        await poisoner.close()
        async with judge(place) as restored:
            found = {run: dump_run(held) for run, held in restored.memory.state.runs.items()}

        assert found == true

    asyncio.run(story())


def test_tombstones_are_in_the_order_of_their_ends() -> None:
    """At the limit the oldest is forgotten, by every judge the same one."""
    memory = PartitionMemory(0)
    memory.state.ended = {"began first": 50, "ended first": 30}
    memory.place = {"began first": 9, "ended first": 4}

    memory.sort_ended()

    assert list(memory.state.ended) == ["ended first", "began first"]


def test_partitions_of_one_judge_send_together(place: Place) -> None:
    """One producer for all; who comes after a failure gets another, who had it may keep it."""

    async def story() -> None:
        producers = Producers(place)
        first, second = await producers.take(), await producers.take()
        await producers.give_back(first, failed=True)
        third = await producers.take()

        assert first is second
        assert third is not first
        box = Outbox(second, place.topic("verdicts"), 0)
        box.put(Letter(b"run", b"still there"))
        assert await box.mark() == 1
        box.close()
        await producers.give_back(second, failed=False)
        await producers.give_back(third, failed=False)

    asyncio.run(story())


def test_who_is_cancelled_while_closing_leaves_nothing_behind(place: Place) -> None:
    """A rebalance may come at any time; a connection that nobody knows is never closed."""

    async def story() -> None:
        shared = Shared(place)
        partition = await take_over(
            place, GROUP, 0, partitions=place.partitions or 0, failing={}, shared=shared
        )
        sender = await shared.producers.take()
        closing = asyncio.create_task(partition.close())
        asyncio.get_running_loop().call_soon(closing.cancel)  # By then it is in the middle.
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert not partition.held
        while shared.producers._users[sender] > 1:
            async with Reader(place):
                pass
        await shared.producers.give_back(sender, failed=False)
        assert shared.producers._users == {}

    asyncio.run(story())


def test_where_no_broker_answers_nobody_takes_a_partition(place: Place) -> None:
    """It is said as a box says it, so that a judge tries again."""
    nowhere = replace(place, bootstrap="127.0.0.1:1")

    async def story() -> None:
        with pytest.raises(OutboxFailed):
            await Producers(nowhere).take()

    asyncio.run(story())


def test_a_log_made_anew_is_not_judged(place: Place) -> None:
    """Offsets of another log mean other events: budgets would be granted twice."""

    async def story() -> None:
        await fill(place, Traffic(0, place.partitions or 0, seed=5), 5)
        async with judge(place) as partition:
            await feed(place, partition)
            await partition.checkpoint()
        await make_anew(place)
        with pytest.raises(LogBroken, match="ends at offset 0"):
            async with judge(place):
                pass
        await fill(place, Traffic(0, place.partitions or 0, seed=6), 20)
        with pytest.raises(LogBroken, match="is not what was judged there"):
            async with judge(place):
                pass

    asyncio.run(story())


async def delete(place: Place, short: str) -> None:
    """Delete a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    await admin.delete_topics([place.topic(short)])
    while place.topic(short) in await admin.list_topics():
        pass
    await admin.close()


async def make_anew(place: Place, short: str = "events") -> None:
    """Delete a topic and create it again, empty."""
    await delete(place, short)
    while not (await apply(place))[0]:
        pass  # The brokers are still busy deleting it.


def test_topics_are_checked_and_never_changed(place: Place) -> None:
    """Applying again creates nothing; another number of partitions is said, not made."""
    created, wrong = asyncio.run(apply(place))
    assert (created, wrong) == ([], [])
    other = replace(place, partitions=8)

    created, wrong = asyncio.run(apply(other))

    assert created == []
    assert len(wrong) == 3
    with pytest.raises(TopicsWrong, match="has 4 partitions"):
        asyncio.run(check(other))


def test_a_wrong_setting_stops_a_worker_with_a_sentence(place: Place, tmp_path: Path) -> None:
    """Before it reads: by then it would have judged by a wrong clock."""
    workers = Workers(replace(place, partitions=8), tmp_path)
    workers.start()
    try:
        process: subprocess.Popen[bytes] = workers.running[1]
        wait_for(lambda: process.poll() is not None, 30, what="the worker to end")

        assert process.returncode == 1
        assert "has 4 partitions, topics.toml says 8" in workers.said()
        assert "Traceback" not in workers.said()
    finally:
        workers.end()
