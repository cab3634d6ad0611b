"""Whether a worker is well: what it was given is judged, in time, or it says what is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faust.types import TP

from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.processors.health import Health, ranges
from ledger.processors.judge import Judge
from tests.live.kafka.test_take_over import GROUP, fill
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


def test_ranges_are_short() -> None:
    """A line for 32 partitions."""
    assert ranges([]) == "none"
    assert ranges([7, 0, 1, 2, 3]) == "0-3,7"
    assert ranges(range(32)) == "0-31"
