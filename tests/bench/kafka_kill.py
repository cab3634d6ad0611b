"""How long a kill takes on Kafka when things are worst: from the order to the refusal elsewhere.

`kafka_kill_loaded_ms`: a fleet writes `LOAD_PER_S` events beside it. `kafka_kill_backlog_ms`:
`LEDGER_BENCH_KILL_BACKLOG` events (a million) stand unjudged in the partitions, and a judge works
them off. `kafka_kill_backlog_no_judge_ms`: the same, and nobody judges. Broker, judge, fleet and
both clients share this machine.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ledger.log.kafka_place import Place
from tests.bench.client import KILLS, Figure
from tests.bench.kafka import fill
from tests.bench.kafka_client import IDLE, _kills, _ledger, _log
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import url_of
from tests.live.kafka.clients import judging
from tests.wheel import ROOT

LOAD_PER_S = 10_000
LOAD_S = KILLS
BACKLOG = int(os.environ.get("LEDGER_BENCH_KILL_BACKLOG", "1000000"))


def figures() -> Iterator[Figure]:
    """Every figure of this module."""
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        place = _log(broker.bootstrap, "loaded")
        with judging(place, Path(folder)), loaded(place, LOAD_PER_S, LOAD_S), _ledger(place) as led:
            yield from _kills(led, "_loaded", IDLE)
        place = _log(broker.bootstrap, "backlog")
        fill(place, BACKLOG)
        with _ledger(place) as led:
            yield from _kills(led, "_backlog_no_judge", IDLE)
        with judging(place, Path(folder)), _ledger(place) as led:
            yield from _kills(led, "_backlog", IDLE)


@contextlib.contextmanager
def loaded(place: Place, events_per_s: int, seconds: int) -> Iterator[None]:
    """While a fleet writes."""
    command = [sys.executable, "-m", "tests.live.kafka.load", url_of(place), str(seconds)]
    with subprocess.Popen(
        [*command, str(events_per_s)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as load:  # fmt: skip
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            load.stdout.readline()
            load.stdin.write("go\n")
            load.stdin.flush()
            yield
        finally:
            load.kill()
