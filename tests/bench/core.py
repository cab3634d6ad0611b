"""What the core costs: judging one event, keeping one run, writing it down, replaying it.

The mix is that of `tests/fleet.py`.
Times are of the thread's own processor clock: what other processes take is not counted.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from statistics import median
from typing import Any

from ledger import wire
from ledger.core import codec
from ledger.core.events import Record
from ledger.core.fold import fold
from ledger.core.state import State
from ledger.replay import replay
from tests.fleet import START_MS, WIDE, Fleet, Row, recorded_policy

Figure = dict[str, Any]

ROUNDS = 5
EVENTS_A_ROUND = 6_000
SIZES = (10, 1_000, 10_000)
RUNS_KEPT = 200


def empty_state() -> State:
    """A state that holds no run yet, and knows the policy."""
    state = State(0)
    state.policies[WIDE.digest] = WIDE
    return state


def fold_rows(state: State, rows: list[Row]) -> tuple[int, int]:
    """(nanoseconds, findings) of decoding and folding the rows one by one."""
    read, findings = wire.reader(), 0
    start = time.thread_time_ns()
    for offset, append_ms, value in rows:
        verdict = fold(state, Record(offset, append_ms, read(value)))
        if verdict is not None and verdict.findings:
            findings += len(verdict.findings)
    return time.thread_time_ns() - start, findings


def decode_rows(rows: list[Row]) -> int:
    """Nanoseconds of decoding alone."""
    read = wire.reader()
    start = time.thread_time_ns()
    for offset, append_ms, value in rows:
        Record(offset, append_ms, read(value))
    return time.thread_time_ns() - start


def fold_figures() -> Iterator[Figure]:
    """Decode and fold, at three sizes of run; the sizes take turns, so that noise is shared."""
    states, streams = {}, {}
    for size in SIZES:
        fleet = Fleet(size)
        states[size], streams[size] = empty_state(), fleet.rows()
        fold_rows(states[size], list(islice(streams[size], fleet.opening + EVENTS_A_ROUND)))
    took: dict[int, list[int]] = {size: [] for size in SIZES}
    decoding: list[int] = []
    found = 0
    for _ in range(ROUNDS):
        for size in SIZES:
            rows = list(islice(streams[size], EVENTS_A_ROUND))
            gc.collect()
            if size == SIZES[0]:
                decoding.append(decode_rows(rows))
            nanoseconds, findings = fold_rows(states[size], rows)
            took[size].append(nanoseconds)
            found += findings
    few = median(took[SIZES[0]])
    for size in SIZES:
        base, what = (median(decoding), "decode alone") if size == SIZES[0] else (few, "10 agents")
        yield {
            "figure": "fold_us", "value": micros(median(took[size])), "unit": "us",
            "agents": size, "baseline": micros(base), "baseline_is": what,
            "ratio": round(median(took[size]) / base, 3),
            "findings_per_1000": round(1_000 * found / (ROUNDS * EVENTS_A_ROUND * len(SIZES)), 1),
        }  # fmt: skip


def micros(nanoseconds: float) -> float:
    """Microseconds an event, of a round's nanoseconds."""
    return round(nanoseconds / EVENTS_A_ROUND / 1_000, 2)


def run_figures() -> Iterator[Figure]:
    """Memory of a live run of 10 agents: 64 remembered calls, every ring of steps full."""
    rows = [
        list(islice(Fleet(10, number, spawns=False).rows(), 420)) for number in range(RUNS_KEPT)
    ]
    state = empty_state()
    fold_rows(state, rows[0])
    state.runs.clear()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for some in rows:
        fold_rows(state, some)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kb = (after - before) / RUNS_KEPT / 1_000
    yield {"figure": "run_kb", "value": round(kb, 1), "unit": "kB"}
    yield from _checkpoint_figures(state)


def _checkpoint_figures(state: State) -> Iterator[Figure]:
    runs = list(state.runs.values())
    out, back, written = [], [], []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        written = [codec.dump_run(run) for run in runs]
        out.append(time.thread_time_ns() - start)
        start = time.thread_time_ns()
        for data in written:
            codec.load_run(data, state)
        back.append(time.thread_time_ns() - start)
    for figure, took in (("checkpoint_dump_us", out), ("checkpoint_load_us", back)):
        value = round(median(took) / len(runs) / 1_000, 1)
        yield {"figure": figure, "value": value, "unit": "us"}
    yield {"figure": "checkpoint_bytes", "value": len(written[0]), "unit": "bytes"}


def replay_figures() -> Iterator[Figure]:
    """Ten runs of 10 agents, one after the other: folded again, every verdict compared."""
    rows: list[Row] = [(0, START_MS, wire.encode(recorded_policy()))]
    for number in range(10):
        rows += islice(Fleet(10, number, first_offset=len(rows)).rows(), EVENTS_A_ROUND)
    read, state, said = wire.reader(), State(0), []
    for offset, append_ms, value in rows:
        verdict = fold(state, Record(offset, append_ms, read(value)))
        if verdict is not None:
            verdict.generation = 3
            said.append((offset, wire.encode_verdict(verdict)))
    took = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.thread_time_ns()
        report = replay(rows, said)
        took.append(time.thread_time_ns() - start)
        if not report.equal or report.compared != len(said):
            raise AssertionError(str(report))
    yield {
        "figure": "replay_events_per_s", "value": round(len(rows) / median(took) * 1e9),
        "unit": "events/s", "verdicts_per_100_events": round(100 * len(said) / len(rows), 1),
    }  # fmt: skip


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    yield from fold_figures()
    yield from run_figures()
    yield from replay_figures()


if __name__ == "__main__":
    for figure in figures():
        sys.stdout.write(json.dumps(figure) + "\n")
