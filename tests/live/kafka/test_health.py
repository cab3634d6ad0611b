"""Whether a worker is well: what it was given is judged, in time, or it says what is not."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from faust.types import TP

import ledger.processors.health
import ledger.processors.partition
from ledger.log.kafka_checkpoints import NotOwner
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.processors.health import Health, ranges
from ledger.processors.holder import Chunk
from ledger.processors.judge import Judge
from tests.live.kafka.test_take_over import GROUP, delete, fill
from tests.live.kafka.traffic import Traffic


@asynccontextmanager
async def holding(place: Place) -> AsyncIterator[Judge]:
    """A judge that holds partition 0, and is fed nothing."""
    judge = Judge(place, GROUP, place.partitions or 0)
    topic = place.topic("events")
    await judge.assigned({TP(topic, 0)})
    try:
        async with Reader(place) as reader:
            while not judge.held:
                await reader.bounds(topic, 0)
        yield judge
    finally:
        await judge.stopping()


def test_lag_past_the_setting_is_not_well(place: Place) -> None:
    """The only sign of a judge that is too slow for its partitions."""

    async def story() -> None:
        await fill(place, Traffic(0, place.partitions or 0, seed=31), 3)
        topic = place.topic("events")
        async with Reader(place) as reader:
            _, end = await reader.bounds(topic, 0)
        async with holding(place) as judge:
            slow = Health(judge, topic, lambda tp: end, lag_max=end - 1)
            fine = Health(judge, topic, lambda tp: end, lag_max=end)

            assert slow.problems() == [f"partition 0 is {end} events behind of {end - 1}"]
            assert slow.report()["ok"] is False
            assert fine.problems() == []
            assert fine.report()["partitions"]["0"] == {"next_offset": 0, "lag": end, "runs": 0}
            assert fine.told() == "judging 0 of 4 partitions"
        assert fine.problems() == ["it has not joined the group of judges yet"]

    asyncio.run(story())


def test_what_is_said_but_never_acknowledged_is_not_well(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All is judged, and no agent hears of it: brokers that lack a leader, or replicas, are
    asked for ever. The partition is begun anew, and nothing goes on sending in its name."""
    monkeypatch.setattr(ledger.processors.partition, "UNHEARD_S", 0.5)
    monkeypatch.setattr(ledger.processors.health, "UNHEARD_S", 0.1)

    async def story() -> None:
        tp = TP(place.topic("events"), 0)
        await fill(place, Traffic(0, place.partitions or 0, seed=32), 3)
        async with holding(place) as judge, Reader(place) as reader:
            partition, (_, end) = judge.held[0], await reader.bounds(*tp)
            health = Health(judge, tp.topic, lambda tp: end)
            records = [one async for some in reader.read(*tp, 0, end) for one in some]
            sending = partition._sender._sender.sender_task
            await delete(place, "verdicts")
            await judge.judge(tp, Chunk(0, records))
            while not health.problems():
                await reader.bounds(*tp)
            problems = health.problems()
            while partition.held or not sending.done():
                await reader.bounds(*tp)
            assert "what was said of partition 0 is not acknowledged for 0 s" in problems
            assert isinstance(partition._lost, NotOwner)
            assert health.problems()

    asyncio.run(story())
    gc.collect()

    assert "Exception in callback" not in caplog.text
    assert "never retrieved" not in caplog.text


def test_ranges_are_short() -> None:
    """A line for 32 partitions."""
    assert ranges([]) == "none"
    assert ranges([7, 0, 1, 2, 3]) == "0-3,7"
    assert ranges(range(32)) == "0-31"
