"""What the archive costs: draining a log, proving it whole, keeping it small, asking it.

The events are those of `tests.fleet` (scripted fleets of 10 agents), in a real SQLite log.
One core: the process is pinned to one, so threads of DuckDB and Arrow share it. Draining reads
the log, decodes every event by the schema, types it, hashes it, writes Parquet, syncs, commits.
Times are of the wall, medians of rounds; `cpu` is the same by the process's own processor clock,
which other processes on the machine do not lengthen.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from ledger.archive.archivist import Archivist
from ledger.archive.compact import ALL, compact
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.catalog import Catalog
from ledger.log.sqlite import SqliteLog
from ledger.wire import reader
from tests.fleet import Fleet

Figure = dict[str, Any]

ROUNDS = 3
RUNS = 400
EVENTS_A_RUN = 500
EVENTS = RUNS * EVENTS_A_RUN
ASKED = 9


def _filled(path: Path) -> tuple[SqliteLog, int]:
    """A log with so many events of so many runs, and the bytes of their JSON."""
    log = SqliteLog(path)
    size = 0
    for number in range(RUNS):
        fleet = Fleet(10, number)
        values = [value for _, _, value in islice(fleet.rows(), EVENTS_A_RUN)]
        size += sum(map(len, values))
        log.append([(fleet.run, value) for value in values])
    return log, size


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall and by the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _rate(figure: str, took: list[tuple[float, float]], **more: Any) -> Figure:
    """Events a second, from the rounds' times."""
    wall, cpu = (median(part) for part in zip(*took, strict=True))
    return {
        "figure": figure, "value": round(EVENTS / wall), "unit": "events/s",
        "cpu": round(EVENTS / cpu), **more,
    }  # fmt: skip


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _figures(Path(folder))
    finally:
        os.sched_setaffinity(0, before)


def _figures(folder: Path) -> Iterator[Figure]:
    read = reader()
    log, json_bytes = _filled(folder / "ledger.db")
    decoded, drained, proved, merged = [], [], [], []
    values = [row.value for row in log.read(0, EVENTS)]
    for number in range(ROUNDS):
        where = folder / f"archive-{number}"
        decoded.append(_timed(lambda: [None for value in values if not read(value)]))
        drained.append(_timed(Archivist(log, where).drain))
        written = sum(file.bytes for file in Table.open(where).files())
        proved.append(_timed(lambda at=where: _prove(at)))  # type: ignore[misc]
        merged.append(_timed(lambda at=where: compact(at, files_min=ALL)))  # type: ignore[misc]
        _prove(where)
    log.close()
    base, _ = (median(part) for part in zip(*decoded, strict=True))
    rate = _rate("archive_events_per_s", drained, verified=True)
    rate |= {
        "baseline": round(EVENTS / base), "baseline_is": "decoding alone",
        "ratio": round(rate["value"] * base / EVENTS, 3),
    }  # fmt: skip
    yield rate
    yield _rate("archive_verify_events_per_s", proved)
    yield _rate("archive_compact_events_per_s", merged)
    packed = sum(file.bytes for file in Table.open(where).files())
    for figure, size in (("archive_bytes", written), ("archive_compacted_bytes", packed)):
        yield {
            "figure": figure, "value": round(size / EVENTS, 1), "unit": "bytes/event",
            "baseline": round(json_bytes / EVENTS, 1), "baseline_is": "JSON",
            "ratio": round(size / json_bytes, 3),
        }  # fmt: skip
    yield from _asked(where)


def _prove(where: Path) -> None:
    found = verify(where)
    assert found.ok
    assert sum(span.rows for span in found.spans) == EVENTS


def _asked(where: Path) -> Iterator[Figure]:
    with Catalog(where) as catalog:
        runs = catalog.sql("select run from runs order by run")["run"].to_pylist()[:: RUNS // ASKED]
        one = [
            _timed(lambda run=run: catalog.sql("from events where run = $run", {"run": run}))[0]  # type: ignore[misc]
            for run in runs
        ]
        top = [_timed(lambda: catalog.query("cost_by_task"))[0] for _ in range(ROUNDS)]
    for figure, took in (("archive_one_run_ms", one), ("archive_cost_by_task_ms", top)):
        yield {"figure": figure, "value": round(median(took) * 1_000, 1), "unit": "ms"}
