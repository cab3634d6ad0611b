"""What the ledger costs an agent: importing, recording, asking, and being stopped.

The judge is a process of its own, the log a file in the temporary folder. Times of single acts
are of the agent's thread, by the wall, with the flushing and the listening thread at work beside
it. `admit_lease_us` is entering a tool call with small arguments: latch, lease, clock, and the
record of the start. `admit_round_trip_ms` is a spawn: request on the disk, judged in another
process, verdict on the disk, read, and the start recorded. `kill_ms` is from before the order is
given to the refusal in a process that computes between its ledger calls.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import ledger
from ledger.core import events as e
from ledger.core.policy import Policy

Figure = dict[str, Any]

IMPORTS = 9
ACTS = 4_000
BURST = 20
SPAWNS = 400
KILLS = 60
FLOOD_PER_S = 20_000
WIDE = Policy.model_validate(
    {
        "name": "wide",
        "run": {"agents_max": 10**6, "tool_calls_max": 10**9, "model_calls_max": 10**9},
        "agent": {"children_max": 10**6, "tool_calls_max": 10**9, "model_calls_max": 10**9},
    }
)
"""Limits that no round reaches; leases as by default."""
CALLS_ALLOWED = 500
SHARERS = 8
TIGHT = Policy.model_validate({"name": "tight", "run": {"tool_calls_max": CALLS_ALLOWED}})


_never = threading.Event()


def _pause(seconds: float) -> None:
    _never.wait(seconds)


def figures() -> Iterator[Figure]:
    """Every figure of the client."""
    yield from _imports()
    yield from _syncs()
    with _ledger() as led:
        yield from _acts(led)
    with _ledger() as led:
        yield from _round_trips(led, "")
    with _ledger() as led, _process("_flood", led.path):
        yield from _round_trips(led, "_flooded")
    with _ledger(TIGHT) as led:
        yield _stranded(led)
    with _ledger() as led:
        yield from _kills(led, "", "_busy")
    with _ledger() as led:
        yield from _kills(led, "_recording", "_busy_recording")


@contextlib.contextmanager
def _ledger(policy: Policy = WIDE) -> Iterator[ledger.Ledger]:
    """A ledger in a folder of its own, with its judge up; both gone at the end."""
    with tempfile.TemporaryDirectory() as folder:
        with ledger.connect(Path(folder) / "ledger.db", policy=policy) as led:
            with led.run("warm up") as run, run.spawn("a") as agent, agent.tool_call("t"):
                pass
            yield led
        _end_judges(led.path)


def _end_judges(path: str) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"ledger.judge" in words and path.encode() in words:
                os.kill(int(folder.name), signal.SIGTERM)


@contextlib.contextmanager
def _process(function: str, *words: str, who: ledger.Agent | None = None) -> Iterator[Any]:
    """A process that runs a function of this module, once it has said that it is ready."""
    code = f"import sys; from tests.bench.client import {function} as f; f(*sys.argv[1:])"
    extra = {} if who is None else who.identity.to_env()
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **extra}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _spread(figure: str, times: list[float], unit: str, **more: Any) -> Iterator[Figure]:
    """The median as the figure, and the 99th percentile beside it."""
    times.sort()
    for name, value in (("p50", median(times)), ("p99", times[int(len(times) * 0.99)])):
        yield {"figure": f"{figure}_{name}", "value": round(value, 2), "unit": unit, **more}


def _imports() -> Iterator[Figure]:
    for figure, words in (("import_ms", ""), ("import_client_ms", "; ledger.connect")):
        code = f"import time; t = time.perf_counter(); import ledger{words}"
        took = [
            float(
                subprocess.check_output(
                    [sys.executable, "-c", f"{code}; print((time.perf_counter() - t) * 1e3)"]
                )
            )
            for _ in range(IMPORTS)
        ]
        yield {"figure": figure, "value": round(median(took), 1), "unit": "ms"}


def _syncs() -> Iterator[Figure]:
    """What the disk itself takes to make 4 KiB durable: a round trip holds two such waits, an
    order one."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SPAWNS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    yield from _spread("disk_sync_ms", times, "ms")


def _acts(led: ledger.Ledger) -> Iterator[Figure]:
    """Acts in bursts of BURST with a pause between, as agents do them; then back to back."""
    with led.run("r") as run:
        event = e.OutputProduced(run=run.id, agent="lead", output="o", result_fp=5)

        def record() -> float:
            began = time.perf_counter()
            led.record(event)
            return (time.perf_counter() - began) * 1e6

        def record_made() -> float:
            began = time.perf_counter()
            led.record(e.OutputProduced(run=run.id, agent="lead", output="o", result_fp=5))
            return (time.perf_counter() - began) * 1e6

        pages = count()

        def call() -> float:
            made = run.tool_call("search", {"q": "bees", "page": next(pages)})
            began = time.perf_counter()
            made.__enter__()
            took = (time.perf_counter() - began) * 1e6
            made.__exit__(None, None, None)
            return took

        def whole_call() -> float:
            began = time.perf_counter()
            with run.tool_call("search", {"q": "bees", "page": next(pages)}) as call:
                call.result("found")
            return (time.perf_counter() - began) * 1e6

        yield from _spread("record_us", _bursts(record), "us")
        yield from _spread("record_made_us", _bursts(record_made), "us")
        yield from _spread("admit_lease_us", _bursts(call), "us")
        yield from _spread("tool_call_us", _bursts(whole_call), "us")
        yield from _spread("record_flood_us", [record() for _ in range(ACTS * 5)], "us")


def _bursts(act: Callable[[], float]) -> list[float]:
    times = []
    for _ in range(ACTS // BURST):
        times += [act() for _ in range(BURST)]
        _pause(0.005)
    return times


def _round_trips(led: ledger.Ledger, name: str) -> Iterator[Figure]:
    times = []
    with led.run("r") as run:
        for number in range(SPAWNS):
            child = run.spawn("a", agent=f"a{number}", task="look it up")
            began = time.perf_counter()
            child.__enter__()
            times.append((time.perf_counter() - began) * 1e3)
            child.__exit__(None, None, None)
    more = {"behind_events_per_s": FLOOD_PER_S} if name else {}
    yield from _spread(f"admit_round_trip{name}_ms", times, "ms", **more)


def _stranded(led: ledger.Ledger) -> Figure:
    """Calls that were lent to others when the first was denied: the k-th of the agents makes one
    call where the first makes k."""
    done = 0
    with led.run("r") as run, contextlib.ExitStack() as stack:
        agents = [stack.enter_context(run.spawn("a")) for _ in range(SHARERS)]
        with contextlib.suppress(ledger.Denied):
            for turn in count(1):
                for number, agent in enumerate(agents, 1):
                    if turn % number == 0:
                        with agent.tool_call("t", turn * SHARERS + number):
                            done += 1
    return {
        "figure": "stranded_at_first_denial", "value": CALLS_ALLOWED - done, "unit": "tool calls",
        "of": CALLS_ALLOWED, "agents": SHARERS,
    }  # fmt: skip


def _flood(path: str) -> None:
    """Record FLOOD_PER_S events a second, for ever, in another run."""
    with ledger.connect(path) as led, led.run("flood") as run:
        event = e.OutputProduced(run=run.id, agent="lead", output="o", result_fp=5)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        due = time.perf_counter()
        while True:
            for _ in range(FLOOD_PER_S // 100):
                led.record(event)
            due += 0.01
            _pause(max(0.0, due - time.perf_counter()))


def _kills(led: ledger.Ledger, name: str, function: str) -> Iterator[Figure]:
    """Each kill meets a process that has settled the one before."""
    times = []
    with led.run("r") as run, _process(function, led.path, who=run) as busy:
        for number in range(KILLS):
            _wait_for_quiet(led)
            given_ns = time.time_ns()
            led.kill(run.id, f"a{number}")
            stopped_ns = int(busy.stdout.readline())
            times.append((stopped_ns - given_ns) / 1e6)
    yield from _spread(f"kill{name}_ms", times, "ms")


def _wait_for_quiet(led: ledger.Ledger) -> None:
    """Until nobody has asked or answered for a moment, a second at most."""
    for _ in range(20):
        before = led.log.verdicts_end()
        _pause(0.05)
        if led.log.verdicts_end() == before:
            return


def _busy(path: str) -> None:
    """Compute for ever, looking at the ledger every 0.1 ms."""

    def work(agent: ledger.Agent) -> None:
        while True:
            sum(range(5_000))
            agent.check()

    _until_killed(path, work)


def _busy_recording(path: str) -> None:
    """Compute for ever, recording an event every millisecond: the log is written to all the time
    by a process whose interpreter is never free."""

    def work(agent: ledger.Agent) -> None:
        while True:
            sum(range(50_000))
            agent.output()

    _until_killed(path, work)


def _until_killed(path: str, work: Callable[[ledger.Agent], None]) -> None:
    """Work as agent a0 and say when it was killed, then as a1, and so on."""
    with ledger.connect(path) as led:
        lead = led.join()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for number in range(KILLS):
            who = ledger.Identity(lead.run, f"a{number}", ("lead",), lead.identity.policy)
            try:
                work(led.join(who))
            except ledger.Killed:
                sys.stdout.write(f"{time.time_ns()}\n")
                sys.stdout.flush()
