"""A partition is folded again however long it is: a window of what was said at a time.

Verdicts are read beside the events that they are on. With windows this small, each is the end of
one now and then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ledger.core.codec import dump_run
from ledger.log import kafka_reader
from ledger.log.kafka_checkpoints import Checkpoints
from ledger.log.kafka_place import Place
from ledger.processors import said
from ledger.processors.partition import Partition
from tests.live.kafka.test_loss import traffic_of
from tests.live.kafka.test_take_over import GROUP, both, feed, fill, judge
from tests.live.kafka.truth import kept

SMALL = 20


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetches and windows of a few records."""
    monkeypatch.setattr(kafka_reader, "RECORDS_MAX", SMALL)
    monkeypatch.setattr(said, "WINDOW", SMALL)


async def told_by_several(place: Place, seed: int) -> None:
    """Three judges, none of which writes a checkpoint, and a zombie who speaks after his time."""
    traffic = traffic_of(place, seed)
    await fill(place, traffic, 2)
    async with judge(place) as zombie:
        await feed(place, zombie)
        for _ in range(2):
            async with judge(place) as owner:
                await fill(place, traffic, 2)
                await feed(place, zombie)
                await feed(place, owner)
                await fill(place, traffic, 1)
                await feed(place, zombie)


@asynccontextmanager
async def one_more(place: Place) -> AsyncIterator[Partition]:
    """A judge who finds verdicts to apply, and more than a window of them."""
    async with judge(place) as partition:
        assert not partition.caught_up
        yield partition
        assert len(partition._said._waiting) <= 2 * SMALL


def test_what_was_said_is_applied_window_by_window(place: Place) -> None:
    """Also behind an announcement, where an older generation went on for a while."""

    async def story() -> None:
        await told_by_several(place, 61)
        async with one_more(place) as partition:
            await feed(place, partition)
            assert partition.caught_up
            await partition.checkpoint()
        ours, plain = await both(place)

        assert (await kept(place, GROUP, 0)).repeated > 0
        assert ours == plain

    asyncio.run(story())


def test_who_folds_again_writes_checkpoints_on_the_way(place: Place) -> None:
    """A week is folded in an hour, and a worker that joins after 50 minutes must not undo them."""

    async def story() -> None:
        await told_by_several(place, 62)
        done = []
        for _ in range(4):
            async with one_more(place) as partition:
                await feed(place, partition, at_most=100)
                assert not partition.caught_up
                await partition.checkpoint()
                done.append(partition.memory.next_offset)
                assert partition.marker.heard < partition.marker.generation
        async with one_more(place) as last:
            assert last.marker.offset == done[-1]
            await feed(place, last)
            await last.checkpoint()
        ours, plain = await both(place)

        assert done == sorted(set(done))
        assert ours == plain

    asyncio.run(story())


def test_runs_that_cannot_be_read_are_folded_again_window_by_window(place: Place) -> None:
    """Code of another version finds nothing but such rows."""

    async def story() -> None:
        await told_by_several(place, 63)
        async with judge(place) as partition:
            await feed(place, partition)
            await partition.checkpoint()
            true = {run: dump_run(held) for run, held in partition.memory.state.runs.items()}
            end = partition.memory.next_offset
        poisoner = Checkpoints(place, GROUP, 0)
        await poisoner.open()
        await poisoner.write(dict.fromkeys(true, b"[99, what]"))
        await poisoner.commit(end)
        await poisoner.close()
        async with judge(place) as restored:
            found = {run: dump_run(held) for run, held in restored.memory.state.runs.items()}

        assert found == true

    asyncio.run(story())
