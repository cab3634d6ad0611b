"""A fold that raises, which it never should: the event is refused, and the worker goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from faust.types import TP

import ledger.processors.judge
import ledger.processors.refusals
from ledger.errors import LedgerError
from ledger.log.kafka_place import Place
from ledger.log.kafka_reader import Reader
from ledger.processors.holder import Chunk
from ledger.processors.judge import Judge
from ledger.wire import decode
from tests.live.kafka.test_health import holding
from tests.live.kafka.test_take_over import both, fill
from tests.live.kafka.traffic import Traffic


@asynccontextmanager
async def about_to_fail(place: Place) -> AsyncIterator[tuple[Judge, TP, list[Any]]]:
    """A judge in the middle of partition 0 whose runs are broken, and all that is there."""
    await fill(place, Traffic(0, place.partitions or 0, seed=41), 3)
    tp = TP(place.topic("events"), 0)
    async with Reader(place) as reader:
        _, end = await reader.bounds(tp.topic, 0)
        records = [one async for some in reader.read(tp.topic, 0, 0, end) for one in some]
    async with holding(place) as judge:
        await judge.judge(tp, Chunk(0, records[: end // 2]))
        runs: Any = judge.held[0].memory.state.runs.values()
        for run in runs:
            run.sources = None  # As a bug might have left it.
        yield judge, tp, records


def test_an_event_that_breaks_the_fold_is_refused_and_the_next_judged(place: Place) -> None:
    async def story() -> None:
        async with about_to_fail(place) as (judge, tp, records):
            begin = judge.wants(tp) or 0
            await judge.judge(tp, Chunk(begin, records[begin:]))
            async with Reader(place) as reader:
                while judge.wants(tp) is None:
                    await reader.bounds(tp.topic, 0)
            again = judge.wants(tp) or 0
            await judge.judge(tp, Chunk(again, records[again:]))
            await judge.held[0].settle()
        ours, _ = await both(place)
        (offset,) = (at for at, one in ours.verdicts.items() if "the judge failed" in one.refusal)

        assert offset == begin
        assert "failed on it: AttributeError" in ours.verdicts[offset].refusal
        assert ours.end == len(records)
        assert max(ours.verdicts) > offset

    asyncio.run(story())


def test_what_cannot_be_read_however_often_ends_the_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused it cannot be. Folded for ever, all behind it would wait, and nobody would know."""
    poison: list[bytes] = []

    def fails(value: bytes) -> Any:
        if value in poison:
            raise IndexError(value)  # As a bug might.
        return decode(value)

    monkeypatch.setattr(ledger.processors.refusals, "decode", fails)

    async def story() -> None:
        said: list[LedgerError] = []
        await fill(place, Traffic(0, place.partitions or 0, seed=42), 3)
        async with holding(place) as judge:
            judge.give_up = said.append
            tp = TP(place.topic("events"), 0)
            async with Reader(place) as reader:
                _, end = await reader.bounds(tp.topic, 0)
                read = reader.read(tp.topic, 0, 0, end)
                records = [one async for some in read for one in some]
                poison.append(records[7].value)
                await judge.judge(tp, Chunk(0, records))
                while judge.wants(tp) is None:
                    await reader.bounds(tp.topic, 0)
            assert not said
            await judge.judge(tp, Chunk(0, records))

            assert judge.wants(tp) is None
        (problem,) = said

        assert "partition 0: the fold fails at offset 7: IndexError" in str(problem)
        assert "each time" in str(problem)
        assert capsys.readouterr().err.count("is taken over again") == 1

    asyncio.run(story())


def test_what_no_record_is_to_blame_for_ends_the_worker(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faust would begin again without a word, and fold the same for ever."""

    async def story() -> None:
        said: list[LedgerError] = []
        async with about_to_fail(place) as (judge, tp, records):
            judge.give_up = said.append
            judge.held[0].memory.deadlines = None  # type: ignore[assignment]
            begin = judge.wants(tp) or 0
            for run in judge.held[0].memory.state.runs.values():
                run.sources = {}
            await judge.judge(tp, Chunk(begin, records[begin:]))

            assert judge.wants(tp) is None
        (problem,) = said

        assert str(problem).startswith("partition 0: AttributeError")
        assert "Traceback" in capsys.readouterr().err

    asyncio.run(story())


def test_too_many_such_events_end_the_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what was wrong, and nobody goes on with a state that may be half changed."""
    monkeypatch.setattr(ledger.processors.judge, "FAILING_MAX", 0)

    async def story() -> None:
        said: list[LedgerError] = []
        async with about_to_fail(place) as (judge, tp, records):
            judge.give_up = said.append
            begin = judge.wants(tp) or 0
            await judge.judge(tp, Chunk(begin, records[begin:]))

            assert judge.wants(tp) is None
        (problem,) = said

        assert f"partition 0: the fold fails at offset {begin}" in str(problem)
        assert "please report it" in str(problem)

    asyncio.run(story())
