"""The same job in Quix Streams: the same events of runs of 10, 100 and 1,000 agents, one worker.

`same_job` is events a second of our worker, beginnings of runs and verdicts included, over those
of Quix with the same fold and one JSON object of state a run (`tests/live/kafka/quix_job.py`).
Quix Streams is put into a folder of its own with pip, or is where LEDGER_QUIX says.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ledger.log.kafka_outbox import producer
from ledger.log.kafka_place import Place
from tests.bench.kafka import log_of, work_off
from tests.bench.kafka_state import PARTITIONS
from tests.fleet import partition_rows
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import url_of
from tests.wheel import ROOT

Figure = dict[str, Any]
Row = tuple[bytes, bytes]

RUNS = {10: 40, 100: 12, 1_000: 4}
"""Live at once, by the agents they have."""
OURS = int(os.environ.get("LEDGER_BENCH_QUIX_EVENTS", "120000"))
THEIRS = {10: 40_000, 100: 20_000, 1_000: 10_000}
"""They do the first of the same events."""
BATCH = 500


def figures() -> Iterator[Figure]:
    """One figure a size of run."""
    with tempfile.TemporaryDirectory() as folder, running() as broker:
        quix = os.environ.get("LEDGER_QUIX") or _installed(folder)
        for agents, runs in RUNS.items():
            place = log_of(broker.bootstrap, f"quix-{agents}")
            written = asyncio.run(_fill(place, agents))
            theirs = _theirs(place, quix, THEIRS[agents])
            with tempfile.TemporaryDirectory() as logs:
                ours = work_off(place, written, Path(logs)).events_per_s
            yield {
                "figure": "same_job", "value": ours, "unit": "events/s", "agents": agents,
                "runs": runs, "events": written, "baseline": theirs,
                "baseline_is": "Quix Streams", "ratio": round(ours / theirs, 1),
            }  # fmt: skip


def _installed(folder: str) -> str:
    """Quix Streams in a folder, beside our own packages."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", folder, "quixstreams"]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return folder


def _theirs(place: Place, quix: str, events: int) -> int:
    with tempfile.TemporaryDirectory() as state:
        environment = {
            **os.environ, "LEDGER_KAFKA": url_of(place), "LEDGER_QUIX": quix, "TMPDIR": state,
            "LEDGER_QUIX_EVENTS": str(events), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tests.live.kafka.quix_job"], env=environment, cwd=ROOT,
            stdout=subprocess.PIPE, text=True, check=True, timeout=600,
        )  # fmt: skip
    return int(done.stdout.split()[-1])


async def _fill(place: Place, agents: int) -> int:
    """Write the log, a partition after the other; how many events."""
    sender = producer(place)
    await sender.start()
    wrote = 0
    for number in range(PARTITIONS):
        rows = _rows(number, agents)
        for begin in range(0, len(rows), BATCH):
            batch = sender.create_batch()
            for key, value in rows[begin : begin + BATCH]:
                batch.append(timestamp=None, key=key, value=value)
            sent = await sender.send_batch(batch, place.topic("events"), partition=number)
            await sent
        wrote += len(rows)
    await sender.stop()
    return wrote


def _rows(number: int, agents: int) -> list[Row]:
    """The events of one partition: runs begin, then they act in turn."""
    runs = RUNS[agents] // PARTITIONS
    rows = partition_rows(number, PARTITIONS, agents=agents, runs=runs)
    return list(islice(rows, 1 + max(OURS // PARTITIONS, 2 * agents * runs)))
