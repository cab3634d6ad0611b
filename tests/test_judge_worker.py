"""A judge whose brokers or own code let it down: it waits, or it ends with a sentence."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("faust", reason="install coordination-ledger[kafka] for what runs on Kafka")

from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

import ledger.processors.judge
from ledger.errors import LedgerError
from ledger.log.kafka_place import Place
from ledger.processors.judge import Judge

PLACE = Place("127.0.0.1:1", partitions=4, replication=1)
EVENTS = TP(PLACE.topic("events"), 0)
PATIENCE_S = 30


@pytest.mark.parametrize("problem", [KafkaTimeoutError(), OSError(113, "no route"), TimeoutError()])
def test_brokers_that_go_away_in_a_take_over_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """It is no bug of ours, and all judges would end at once."""
    said: list[str] = []
    given_up: list[LedgerError] = []

    async def story() -> None:
        twice, tries = asyncio.Event(), iter((False, True))

        async def fails(*_: Any, **__: Any) -> None:
            if next(tries, False):
                twice.set()
            raise problem

        monkeypatch.setattr(ledger.processors.judge, "take_over", fails)
        monkeypatch.setattr(ledger.processors.judge, "MENDED_S", 0)
        judge = Judge(PLACE, "judges", 4, say=said.append)
        judge.give_up = given_up.append
        await judge.assigned({EVENTS})
        await asyncio.wait_for(twice.wait(), PATIENCE_S)
        assert judge.broken_partitions.keys() == {0}
        await judge.stopping()

    asyncio.run(story())

    assert given_up == []
    assert len(said) == 1
    assert said[0].startswith("127.0.0.1:1: ")


@pytest.mark.parametrize("again", [False, True], ids=["it is let go", "not even that works"])
def test_a_bug_that_ends_a_task_ends_the_worker(again: bool) -> None:
    """The partition would stay parked, and nobody would know."""
    said: list[str] = []

    class Parked:
        number, held, parked = 0, True, True
        refusals = SimpleNamespace(count=2, muted=0)

        async def checkpoint(self) -> None:
            raise ZeroDivisionError

        async def close(self) -> None:
            if again:
                raise LookupError

    async def story() -> LedgerError:
        given_up: asyncio.Future[LedgerError] = asyncio.get_running_loop().create_future()
        judge = Judge(PLACE, "judges", 4, say=said.append)
        judge.give_up = given_up.set_result
        judge._held[0] = Parked()  # type: ignore[assignment]
        await judge.assigned({EVENTS})
        problem = await asyncio.wait_for(given_up, PATIENCE_S)
        assert judge.refused == 2
        assert not judge._held
        await judge.stopping()
        return problem

    assert str(asyncio.run(story())) == "partition 0: ZeroDivisionError()"
    assert "Traceback" in said[0]
    assert len(said) == 1 + again


def test_what_is_asked_back_while_it_is_taken_over_is_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others have it by then. `wait_for` may forget that it was cancelled, so a task may go on."""

    async def story() -> None:
        begun, closed = asyncio.Event(), asyncio.Event()

        class Taken:
            async def close(self) -> None:
                closed.set()

        async def forgets(*_: Any, **__: Any) -> Taken:
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return Taken()

        monkeypatch.setattr(ledger.processors.judge, "take_over", forgets)
        judge = Judge(PLACE, "judges", 4)
        await judge.assigned({EVENTS})
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        await judge.revoked({EVENTS}, lost=False)
        await asyncio.wait_for(closed.wait(), PATIENCE_S)
        assert not judge._held

    asyncio.run(story())
