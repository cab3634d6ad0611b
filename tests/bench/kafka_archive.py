"""What an archivist on Kafka costs: events that one worker archives in a second.

A real broker, started for it; one worker process over a backlog of four partitions, with
everything on: reading, typing, hashing, Parquet, syncing, committing. The rate is over the times
of its commits, behind the first. Broker and worker share this machine; `cpu_us_per_event` is the
worker's own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ledger.archive.table import METADATA, Table
from ledger.archive.verify import verify
from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from tests.bench import kafka
from tests.live.kafka.archived import archivists, caught_up
from tests.live.kafka.broker import running

Figure = dict[str, Any]


def figures() -> Iterator[Figure]:
    """Every figure of this module."""
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        yield archived(broker.bootstrap, Path(folder))


def archived(bootstrap: str, folder: Path) -> Figure:
    """One worker over a backlog."""
    place = Place(bootstrap, f"archive-{time.monotonic_ns()}", kafka.PARTITIONS, 1)
    asyncio.run(apply(place))
    written = kafka.fill(place, kafka.BACKLOG)
    where = folder / "archive"
    with archivists(place, folder, where, LEDGER_ARCHIVE_COMMIT_S="2") as workers:
        workers.start()
        caught_up(place, where, workers)
        memory_mb = kafka._resident_mb(workers.running[1].pid)
        cpu_s = kafka._cpu_s(workers.running[1].pid)
        workers.stop(1)
    assert verify(where).ok
    table = Table.open(where)
    commits = [
        (one["timestamp"], sum(fact["rows"] for fact in one[METADATA]))
        for one in table.delta.history()
        if METADATA in one
    ]
    (begin_ms, first), (end_ms, _) = min(commits), max(commits)
    size = sum(file.bytes for file in table.files())
    rate = (written - first) / max(1, end_ms - begin_ms) * 1_000
    return {
        "figure": "kafka_archive_events_per_s", "value": round(rate), "unit": "events/s",
        "events": written, "commits": len(commits), "verified": True, "resident_mb": memory_mb,
        "cpu_us_per_event": round(1e6 * cpu_s / written, 1),
        "bytes_per_event": round(size / written, 1),
    }  # fmt: skip
