"""A machine at full load, whole: agents act as fast as they can, all is judged and archived.

Four processes make tool calls and model calls of known cost through the real client; `ledger up`
judges them, archives in a process of its own and trims. `embedded_events_per_s` counts until the
last event is judged. This process asks for admission meanwhile. So two cores serve seven
processes; `embedded_unarchived_events_per_s` is the same without the archive. The disk is the one
of the temporary folder (TMPDIR).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import ledger
from ledger.core.policy import Leases, Unreachable
from ledger.log.sqlite import SqliteLog
from tests.fleet import WIDE as ROOMY

Figure = dict[str, Any]

CLIENTS = 4
SECONDS = 6.0
ASK_EVERY_S = 0.02
WIDE = ROOMY.model_copy(
    update={
        "unreachable": Unreachable(wait_ms=60_000),
        "lease": Leases(tool_calls=8_192, model_calls=8_192, tokens=10**9, microdollars=10**9),
    }
)
"""Wide leases: agents that act every 20 µs are not held up by asking 1,000 times a second."""
_pause = threading.Event().wait


def figures() -> Iterator[Figure]:
    """Events a second with the archive and without, what was archived, admission meanwhile."""
    for name, words in (("embedded", ()), ("embedded_unarchived", ("--no-archive",))):
        with (
            tempfile.TemporaryDirectory() as folder,
            _up(Path(folder) / "ledger.db", *words) as log,
        ):
            yield from _flood(log, name, archived=not words)


def _flood(log: SqliteLog, name: str, *, archived: bool) -> Iterator[Figure]:
    times: list[float] = []
    with ExitStack() as stack:
        led = stack.enter_context(ledger.connect(log.path, policy=WIDE, judge="none"))
        run = stack.enter_context(led.run("admission"))
        with run.spawn("first"):
            pass
        clients = [stack.enter_context(_client(log.path)) for _ in range(CLIENTS)]
        began_s, first = time.monotonic(), log.end()
        before = _archived(log)
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        while any(client.poll() is None for client in clients):
            times.append(_admission_ms(run, len(times)))
            _pause(ASK_EVERY_S)
        assert [client.returncode for client in clients] == [0] * CLIENTS
        recorded_s, end = time.monotonic() - began_s, log.end()
        archived_rows = _archived(log) - before
        while log.judge().next_offset < end:
            _pause(0.01)
        took_s = time.monotonic() - began_s
    yield _figure(f"{name}_events_per_s", (end - first) / took_s, "events/s", clients=CLIENTS)
    times.sort()
    yield _figure(f"{name}_admit_ms_p50", median(times), "ms", asked=len(times))
    yield _figure(f"{name}_admit_ms_p99", times[int(len(times) * 0.99)], "ms", asked=len(times))
    if archived:
        yield _figure(f"{name}_archived_per_s", archived_rows / recorded_s, "events/s")


def _figure(name: str, value: float, unit: str, **more: Any) -> Figure:
    return {"figure": name, "value": round(value, 2), "unit": unit, **more}


def _admission_ms(run: ledger.Run, number: int) -> float:
    child = run.spawn("a", agent=f"a{number}", task="look it up")
    began_s = time.perf_counter()
    child.__enter__()
    took_ms = (time.perf_counter() - began_s) * 1e3
    child.__exit__(None, None, None)
    return took_ms


def _archived(log: SqliteLog) -> int:
    found = log.meta("archived_offset")
    return found if isinstance(found, int) else 0


@contextmanager
def _up(path: Path, *words: str) -> Iterator[SqliteLog]:
    """A log that `ledger up` judges."""
    command = [sys.executable, "-m", "ledger.cli", "--log", str(path), "up", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with SqliteLog(path) as log:
                while log.judge().heartbeat_age_ms is None:
                    _pause(0.01)
                yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


@contextmanager
def _client(path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that records for SECONDS once it is told to, and then ends."""
    code = "import sys; from tests.bench.embedded import record; record(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def record(path: str) -> None:
    """What each client process does."""
    with ledger.connect(path, policy=WIDE, judge="none") as led, led.run("flood") as run:
        led.flush()
        print("ready", flush=True)
        sys.stdin.readline()
        until_s = time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < until_s:
            number += 1
            with run.tool_call("search", {"q": number}) as call:
                call.result(number)
            with run.model_call("gpt-5", tokens_estimate=2_000) as asked:
                asked.usage(input_tokens=900, output_tokens=100, cost_microdollars=2_125)
        led.flush(600)
