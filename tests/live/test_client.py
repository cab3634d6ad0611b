"""Clients among real processes: racing, killed, forked, joined by identity, without their judge."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ledger
from ledger.core import events as e
from ledger.core.policy import Policy
from ledger.core.state import ENDED
from ledger.core.verdicts import TOOL_CALLS
from ledger.log.sqlite import SqliteLog
from tests.clients import adds_up, heard, is_in_order, limits, of_type, refusals, state_of
from tests.judging import applied, caught_up
from tests.live.test_judge import judges
from tests.waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("patient")]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a log may be; whoever judges it at the end is told to go."""
    place = tmp_path / "ledger.db"
    yield place
    real = os.path.realpath(place)
    for pid in judges(real):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not judges(real), what="the judges to go")


Start = Callable[..., Any]


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Starts a process that runs a function of this module, as `who` if given. Ends them all."""
    with contextlib.ExitStack() as started:

        def begin(function: str, *words: str, who: ledger.Agent | None = None) -> Any:
            code = (
                f"import sys; from tests.live.test_client import {function} as f; f(*sys.argv[1:])"
            )
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(path), *words],
                env={**os.environ, **({} if who is None else who.identity.to_env())},
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield begin


def line_of(process: Any) -> str:
    """The next line that the process prints."""
    return str(process.stdout.readline()).strip()


# --- what the processes do ---


def spend(path: str, out: str) -> None:
    """Make tool calls until denied; a byte in `out` for each, written in its body."""
    with ledger.connect(path) as led, led.join() as agent, open(out, "ab", buffering=0) as done:
        print("ready", flush=True)
        with contextlib.suppress(ledger.Denied):
            while True:
                with agent.tool_call("t"):
                    done.write(b".")


def spin(path: str) -> None:
    """Compute and call, for ever; print when killed: the nanoseconds since 1970."""
    with ledger.connect(path) as led:
        try:
            with led.join() as agent:
                print("ready", flush=True)
                busy = 0
                while True:
                    busy = sum(range(200)) + busy % 7
                    agent.check()
        except ledger.Killed as killed:
            print(time.time_ns(), killed.agent, flush=True)


def wait_elsewhere(path: str) -> None:
    """Wait for something that never comes, in a task."""
    import asyncio

    async def main() -> None:
        async with ledger.connect(path) as led, led.join() as agent, agent.tool_call("t"):
            print("ready", flush=True)
            await asyncio.get_running_loop().create_future()

    try:
        asyncio.run(main())
    except ledger.Killed as killed:
        print(f"killed {killed.reason}", flush=True)


def record_for_ever(path: str) -> None:
    """Spawn and call; say after each flush how much is safe."""
    with ledger.connect(path) as led, led.run("r", run="victim") as run, run.spawn("a") as agent:
        for n in range(10**6):
            with agent.tool_call("t", n):
                pass
            if n % 20 == 19:
                led.flush()
                print(n + 1, flush=True)


def has(file: Path, size: int) -> bool:
    """Whether the file is that large already."""
    return file.exists() and file.stat().st_size >= size


# --- the tests ---


@pytest.mark.parametrize("victims", [0, 1])
def test_processes_that_race_never_get_past_the_limit(
    path: Path, tmp_path: Path, start: Start, victims: int
) -> None:
    """Invariant 5, with `kill -9` in the middle: what a dead process held stays counted."""
    pinned = limits(run_tool_calls_max=300, agent_tool_calls_max=300, lease_ttl_ms=1_000)
    with ledger.connect(path, policy=pinned) as led, led.run("r") as run:
        outs = [tmp_path / f"out{n}" for n in range(3 + victims)]
        for out in outs[:victims]:
            victim = start("spend", str(out), who=run)
            wait_for(partial(has, out, 6), what="the victim to have begun")
            victim.kill()
        racers = [start("spend", str(out), who=run) for out in outs[victims:]]
        for racer in racers:
            assert line_of(racer) == "ready"
            racer.wait(120)
        done = sum(out.stat().st_size for out in outs if out.exists())
        state = state_of(led, run.id)

        assert done <= 300
        assert done == 300 or victims
        assert state.budget.spent(TOOL_CALLS) + state.budget.reserved(TOOL_CALLS) >= done
        assert state.unadmitted == 0
        adds_up(state)
        is_in_order(led.log)


def test_a_kill_reaches_a_process_that_computes(path: Path, start: Start) -> None:
    """Its interpreter is busy and it waits for nothing; the next call sees the number change."""
    with ledger.connect(path) as led, led.run("r") as run, run.spawn("a", agent="a") as agent:
        busy = start("spin", who=agent)
        assert line_of(busy) == "ready"
        given_ns = time.time_ns()
        receipt = led.kill(run.id, "a", reason="enough", wait_s=20)
        stopped_ns, who = line_of(busy).split()
        busy.wait(120)

        assert who == "a"
        assert (int(stopped_ns) - given_ns) / 1e6 < 500
        assert receipt.quiet


def test_a_kill_cancels_a_task_of_another_process(path: Path, start: Start) -> None:
    with ledger.connect(path) as led, led.run("r") as run:
        other = start("wait_elsewhere", who=run)
        assert line_of(other) == "ready"
        wait_for(lambda: of_type(led.log, e.ToolCallStarted), what="the call")
        receipt = led.kill(run.id, reason="enough", wait_s=20)

        assert line_of(other) == "killed enough"
        assert other.wait(120) == 0
        assert receipt.calls_in_flight == 1


def test_what_a_killed_process_flushed_is_there_and_its_agents_are_over(
    path: Path, start: Start
) -> None:
    """Invariant 1; and nobody waits for the dead: their places come back."""
    victim = start("record_for_ever")
    safe = 0
    while safe < 60:
        safe = int(line_of(victim))
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    with ledger.connect(path) as led:
        calls = of_type(led.log, e.ToolCallEnded)
        assert len(calls) >= safe
        is_in_order(led.log)
        wait_for(lambda: of_type(led.log, e.HolderLost), 20, what="the judge to see that it died")
        wait_for(lambda: caught_up(led.log))
        state = applied(led.log).runs["victim"]

        assert all(agent.status == ENDED for agent in state.agents.values())
        assert not state.leases
        assert refusals(led.log) == []


def test_a_judge_killed_in_the_middle_is_replaced_and_nobody_notices(path: Path) -> None:
    """PROTOCOLS 14: who waits for an answer looks after the judge, and gets the answer."""
    with ledger.connect(path) as led, led.run("r") as run:
        with run.spawn("a"):
            pass
        real = os.path.realpath(path)
        for round_number in range(3):
            for pid in judges(real):
                os.kill(pid, signal.SIGKILL)
            with run.spawn("a") as agent, agent.tool_call("t", round_number):
                pass
        state = state_of(led, run.id)

        assert len(state.agents) == 5
        assert state.unadmitted == 0
        assert refusals(led.log) == []


def test_a_frozen_judge_is_replaced(path: Path) -> None:
    with ledger.connect(path) as led, led.run("r") as run:
        with run.spawn("a"):
            pass
        frozen = judges(os.path.realpath(path))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        with run.spawn("a"):
            pass
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        with run.spawn("a"):
            pass

        assert refusals(led.log) == []


def test_a_fork_inside_a_run_is_another_source_of_the_same_agent(path: Path) -> None:
    """PROTOCOLS 3 and 8: nothing of the parent's is sent, spent or ended by the child."""
    pinned = limits(run_tool_calls_max=40, agent_tool_calls_max=40)
    with ledger.connect(path, policy=pinned) as led, led.run("r") as run:
        with run.spawn("a", agent="a") as agent:
            with agent.tool_call("t", "before"):
                pass
            parent = led.source
            child = os.fork()
            if child == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    assert led.source != parent
                    for n in range(5):
                        with agent.tool_call("t", n):
                            pass
                    with agent.spawn("b"):
                        pass
                    led.flush()
                    code = 0
                os._exit(code)
            for n in range(5):
                with agent.tool_call("t", n):
                    pass
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
        state = state_of(led, run.id)

        assert state.budget.spent(TOOL_CALLS) + state.budget.reserved(TOOL_CALLS) >= 11
        assert state.unadmitted == 0
        assert len({call.source for call in of_type(led.log, e.ToolCallStarted)}) == 2
        assert len(of_type(led.log, e.AgentStarted)) == 2
        assert len([end for end in of_type(led.log, e.AgentEnded) if end.agent == "a"]) == 1
        assert refusals(led.log) == []
        is_in_order(led.log)


def test_contexts_of_the_parent_that_a_child_leaves_are_not_its_to_end(path: Path) -> None:
    with ledger.connect(path) as led:
        run = led.run("r")
        child = 0
        with contextlib.suppress(ZeroDivisionError), run, run.tool_call("t"):
            child = os.fork()
            if child == 0:
                raise ZeroDivisionError
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                led.flush()
                code = 0
            os._exit(code)
        os.waitpid(child, 0)
        led.flush()

        assert len(of_type(led.log, e.RunEnded)) == 1
        assert len(of_type(led.log, e.ToolCallEnded)) == 1
        assert of_type(led.log, e.RunEnded)[0].outcome == "succeeded"


def call_three_times(agent: ledger.Agent) -> None:
    """What a child of `multiprocessing` does; it ends without `atexit`."""
    for n in range(3):
        with agent.tool_call("t", n):
            pass


def test_children_of_multiprocessing_write_before_they_end(path: Path) -> None:
    """They leave by `os._exit`; what they recorded must not leave with them."""
    with ledger.connect(path) as led, led.run("r") as run:
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=call_three_times, args=(run,)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(30)
            assert child.exitcode == 0
        led.flush()
        ended = of_type(led.log, e.ToolCallEnded)

        assert len(ended) == 6
        assert len({event.source for event in ended}) == 2


def test_threads_record_while_others_fork(path: Path) -> None:
    """A lock that some thread held at the fork must not stop the child."""
    with ledger.connect(path) as led, led.run("r") as run:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                with run.tool_call("t"):
                    pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        codes = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    run.output("from the child")
                    led.flush(20)
                    code = 0
                os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop.set()
        for thread in threads:
            thread.join(20)
        led.flush()

        assert codes == [0] * 8
        assert len(of_type(led.log, e.OutputProduced)) == 8
        is_in_order(led.log)


def test_a_run_of_another_process_is_judged_by_its_own_policy(path: Path) -> None:
    """Who joins goes by what the run pinned, not by his own file."""
    with (
        ledger.connect(path, policy=limits(client_pause_max_ms=70)) as led,
        led.run("r") as run,
        ledger.connect(path, policy=Policy(name="another")) as other,
    ):
        joined = other.join(run.identity)

        assert joined._local.run.policy.client.pause_max_ms == 70
        assert joined.identity == run.identity


def test_two_clients_start_one_judge(path: Path, start: Start) -> None:
    """The first client starts it; ten do no harm."""
    starters = [start("call_once") for _ in range(4)]
    for starter in starters:
        assert starter.wait(120) == 0
    with SqliteLog(path) as log:
        assert len(of_type(log, e.RunEnded)) == 4
        assert {event.type for event in heard(log)} >= {"run_started", "tool_call_ended"}
        assert refusals(log) == []


def call_once(path: str) -> None:
    """A whole run with one call."""
    with ledger.connect(path) as led, led.run("r") as run, run.tool_call("t"):
        pass
