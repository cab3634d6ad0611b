"""What the judge costs and how fast it answers, over the log alone: no client library.

Clients are processes that append events encoded beforehand, in transactions of `BATCH`. A round
trip is a `lease_requested` on the disk, judged by another process, and its verdict read.
The disk is the one of the temporary folder (TMPDIR): every round trip waits for it twice.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ledger.core import events as e
from ledger.core.shapes import Units
from ledger.judge import Judge, ensure
from ledger.log.sqlite import SqliteLog
from ledger.wire import decode_verdict, encode

Figure = dict[str, Any]

CLIENTS = 4
BATCH = 100
LOAD_EVENTS_PER_S = 20_000
ROUND_TRIPS = 400
FLOOD_S = 4.0
ALONE = 40_000
TAKE_OVERS = 5
WANTS = Units(tool_calls=1)
_pause = threading.Event().wait
_spawn = multiprocessing.get_context("spawn")


def figures() -> Iterator[Figure]:
    """Processor time an event, round trips, rates, take-over times."""
    yield _figure("judge_us", _alone_us(), "us")
    with _judged() as log:
        yield from _round_trips(log, "judge_round_trip_ms")
        with _clients(log, CLIENTS, LOAD_EVENTS_PER_S // CLIENTS, 5.0) as _:
            yield from _round_trips(log, "judge_round_trip_behind_20000_per_s_ms")
    with _judged() as log:
        began_s, first = time.monotonic(), log.end()
        with _clients(log, CLIENTS, 0, FLOOD_S):
            pass
        while log.judge().next_offset < log.end():
            _pause(0.005)
        rate = (log.end() - first) / (time.monotonic() - began_s)
        yield _figure("judged_events_per_s", rate, "events/s")
    yield _figure("take_over_killed_ms", _take_over_ms(signal.SIGKILL), "ms")
    yield _figure("take_over_frozen_ms", _take_over_ms(signal.SIGSTOP), "ms")


def _figure(name: str, value: float, unit: str) -> Figure:
    return {"figure": name, "value": round(value, 3), "unit": unit}


def _alone_us() -> float:
    """Processor time for an event: read, decode, fold, commit; one process, nobody waiting."""
    with _log() as log:
        source = _Source("alone")
        log.append(source.begin())
        for _ in range(ALONE // 1_000):
            log.append(source.acts(1_000))
        judge = Judge(log)
        assert judge.elected()
        began_s = time.process_time()
        while judge.step():
            pass
        spent_s = time.process_time() - began_s
        judge.close()
        return spent_s / ALONE * 1e6


def _round_trips(log: SqliteLog, name: str) -> Iterator[Figure]:
    run, times = f"probe-{time.monotonic_ns()}", []
    log.append([(run, encode(e.RunStarted(run=run, agent="lead", source="p", seq=1)))])
    after = log.verdicts_end()
    with log.bell("client", "p") as bell:
        for n in range(ROUND_TRIPS):
            ask = e.LeaseRequested(run=run, agent="lead", source="p", seq=2 + 2 * n, wants=WANTS)
            began_s = time.perf_counter()
            (offset,) = log.append([(run, encode(ask))])
            while not (found := [r for r in log.verdicts(after, 1_000) if r.offset == offset]):
                bell.wait(0.1)
            times.append((time.perf_counter() - began_s) * 1e3)
            after = found[0].pos
            lease = decode_verdict(found[0].value).lease
            assert lease is not None
            back = e.LeaseReturned(
                run=run, agent="lead", source="p", seq=3 + 2 * n, lease=lease.lease, left=WANTS
            )
            log.append([(run, encode(back))])
            _pause(0.003)
    yield _figure(f"{name}_p50", median(times), "ms")
    yield _figure(f"{name}_p99", quantiles(times, n=100)[98], "ms")


def _take_over_ms(end: signal.Signals) -> float:
    """From the end of one judge to the verdict of the next, asked for right after; the median.

    The client looks for the judge ten times a second.
    """
    with _log() as log:
        log.append([("r", encode(e.RunStarted(run="r", agent="lead", source="p", seq=1)))])
        ensure(log)
        times = []
        for n in range(TAKE_OVERS):
            while log.judge().next_offset < log.end():
                _pause(0.01)
            pid = int(log.judge().holder.split()[2])
            os.kill(pid, end)
            began_s, after, looked_s = time.monotonic(), log.verdicts_end(), 0.0
            ask = e.LeaseRequested(run="r", agent="lead", source="p", seq=2 + n, wants=WANTS)
            log.append([("r", encode(ask))])
            while not log.verdicts(after, 1):
                if time.monotonic() - looked_s > 0.1:
                    looked_s = time.monotonic()
                    ensure(log)
                _pause(0.005)
            times.append((time.monotonic() - began_s) * 1e3)
            os.kill(pid, signal.SIGKILL)
        os.kill(int(log.judge().holder.split()[2]), signal.SIGTERM)
        while log.judge().holder:
            _pause(0.01)
        return median(times)


@contextmanager
def _log() -> Iterator[SqliteLog]:
    with tempfile.TemporaryDirectory() as folder, SqliteLog(Path(folder) / "ledger.db") as log:
        yield log


@contextmanager
def _judged() -> Iterator[SqliteLog]:
    """A log that another process judges."""
    with _log() as log:
        process = subprocess.Popen([sys.executable, "-m", "ledger.judge", log.path])
        while log.judge().heartbeat_age_ms is None:
            _pause(0.01)
        try:
            yield log
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _clients(log: SqliteLog, many: int, per_s: int, seconds: float) -> Iterator[None]:
    """Processes that append meanwhile, each `per_s` events a second (0: as fast as they can)."""
    gate = _spawn.Barrier(many + 1)
    work = [
        _spawn.Process(target=_append, args=(log.path, f"c{n}", per_s, seconds, gate))
        for n in range(many)
    ]
    for process in work:
        process.start()
    gate.wait()
    try:
        yield
    finally:
        for process in work:
            process.join()


def _append(path: str, name: str, per_s: int, seconds: float, gate: Any) -> None:
    source, sent = _Source(name), 0
    with SqliteLog(path) as log:
        log.append(source.begin())
        gate.wait()
        began_s = time.monotonic()
        while time.monotonic() - began_s < seconds:
            log.append(source.acts(BATCH))
            sent += BATCH
            if per_s:
                _pause(max(0.0, began_s + sent / per_s - time.monotonic()))


class _Source:
    """The acts of one run of ten agents: calls of tools and models, started and ended."""

    def __init__(self, name: str) -> None:
        self.name, self._seq = name, 0

    def begin(self) -> list[tuple[str, bytes]]:
        """The run and its agents."""
        first = e.RunStarted(run=self.name, agent="a0", source=self.name, seq=1)
        rest = [
            e.AgentStarted(run=self.name, agent=f"a{n}", parent="a0", source=self.name, seq=n + 1)
            for n in range(1, 10)
        ]
        self._seq = 10
        return [(self.name, encode(event)) for event in (first, *rest)]

    def acts(self, count: int) -> list[tuple[str, bytes]]:
        """The next acts, formatted by hand: what is measured is the judge, not the writer."""
        kinds = (
            b'"type":"tool_call_started","tool":"search","args_fp":%d',
            b'"type":"tool_call_ended","result_fp":%d',
            b'"type":"model_call_started","model":"m","prompt_fp":%d',
            b'"type":"model_call_ended","input_tokens":900,"output_tokens":80,"result_fp":%d',
        )
        name, made = self.name.encode(), []
        for seq in range(self._seq + 1, self._seq + count + 1):
            call = seq - (seq - 11) % 2
            act = kinds[(seq - 11) % 4] % (call * 7_919)
            head = (name, call % 10, name, seq, name, call)
            made.append(
                b'{"run":"%b","agent":"a%d","source":"%b","seq":%d,"call":"%b-%d",' % head
                + act
                + b"}"
            )
        self._seq += count
        return [(self.name, value) for value in made]
