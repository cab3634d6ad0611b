"""What a client said is in the log before another process, forked or asked, acts on it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import ledger
from ledger.client import queue
from tests.clients import is_in_order, refusals

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("patient")]


@pytest.fixture(autouse=True)
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes anything down before somebody asks for it."""
    monkeypatch.setattr(queue, "LINGER_S", (600.0, 600.0))


def test_a_fork_finds_its_agent_started(tmp_path: Path) -> None:
    with (
        ledger.connect(tmp_path / "ledger.db", judge="thread") as led,
        led.run("r") as run,
        run.spawn("a") as agent,
    ):
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                with agent.tool_call("t"):
                    pass
                led.flush()
                code = 0
            os._exit(code)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert refusals(led.log) == []
        is_in_order(led.log)


def through_a_pipe(who: ledger.Identity) -> ledger.Identity:
    """As an argument gets to a process that `multiprocessing` spawns."""
    pipe: multiprocessing.SimpleQueue[ledger.Identity] = multiprocessing.SimpleQueue()
    pipe.put(who)
    return pipe.get()


@pytest.mark.parametrize(
    "carried",
    [
        lambda who: ledger.Identity.from_env(who.to_env()),
        lambda who: ledger.Identity.from_header(who.to_header()),
        through_a_pipe,
    ],
    ids=["environment", "header", "pipe"],
)
def test_who_acts_for_an_agent_finds_it_started(
    tmp_path: Path, carried: Callable[[ledger.Identity], ledger.Identity]
) -> None:
    path = tmp_path / "ledger.db"
    with (
        ledger.connect(path, judge="thread") as led,
        led.run("r") as run,
        run.spawn("a") as agent,
        ledger.connect(path, judge="none") as other,
        other.join(carried(agent.identity)) as there,
    ):
        assert there.identity == agent.identity
        with there.tool_call("t"):
            pass
        other.flush()

        assert refusals(led.log) == []
