"""How long admission pauses when a worker of the next deciding version takes over from the present.

A fleet writes `LOAD_PER_S` events; one client asks for a spawn in every partition, each as soon
as the one before was answered. A worker of the present version judges, one of the next joins it,
then the first is told to end (SIGTERM), or dies (`kill -9`). A pause is the longest time between
two answers in a partition, the worst of all partitions; a figure is the median of the rounds.
`quiet` is the same while nothing happens. Broker, workers, fleet and client share this machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import ledger
from ledger.log.kafka_keys import partition_of
from ledger.log.kafka_place import Place
from tests.bench.client import WIDE, Figure, _pause
from tests.bench.kafka_client import _log
from tests.bench.kafka_kill import loaded
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import url_of
from tests.live.kafka.test_upgrade import NEXT, change, copy, judges, shared
from tests.waiting import wait_for

ROUNDS = int(os.environ.get("LEDGER_BENCH_UPGRADES", "3"))
LOAD_PER_S, LOAD_S = 2_000, 120
PARTITIONS = 4
SPAWNS = 100
"""Of one run; then another begins, so that checkpoints stay small."""
EVERY_S = 0.005
QUIET = 200
"""So many answers in each partition, and nothing happens."""
PATIENT = WIDE.model_copy(
    update={"unreachable": WIDE.unreachable.model_copy(update={"wait_ms": 120_000})}
)
SESSION_S = "6"


def figures() -> Iterator[Figure]:
    """Every figure of this module."""
    pauses: dict[str, list[float]] = {}
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        now, later = copy(Path(folder, "now")), copy(Path(folder, "later"))
        change(later / "core" / "lifecycle.py", "FOLD_VERSION", str(NEXT))
        for how in (signal.SIGTERM, signal.SIGKILL):
            for number in range(ROUNDS):
                home = Path(folder, f"{how.name}-{number}")
                home.mkdir()
                for name, pause_s in _upgraded(broker.bootstrap, home, now, later, how):
                    pauses.setdefault(name, []).append(pause_s * 1_000)
    for name, all_ms in pauses.items():
        yield {
            "figure": f"kafka_upgrade_pause_{name}_ms", "value": round(median(all_ms)),
            "unit": "ms", "worst": round(max(all_ms)), "rounds": len(all_ms),
        }  # fmt: skip


def _upgraded(
    bootstrap: str, home: Path, now: Path, later: Path, how: signal.Signals
) -> Iterator[tuple[str, float]]:
    """The pause in each stage of one upgrade."""
    place = _log(bootstrap, "upgrade")
    with (
        judges(place, home / "1", now, SESSION_S) as old,
        judges(place, home / "2", later, SESSION_S) as new,
        loaded(place, LOAD_PER_S, LOAD_S),
        ledger.connect(url_of(place), policy=PATIENT) as led,
        Askers(led) as askers,
    ):
        old.start()
        askers.more()
        yield "quiet", askers.pause_in(lambda: askers.more(QUIET))
        yield "join", askers.pause_in(lambda: _join(place, new))
        process = old.running[1]
        process.send_signal(how)
        yield how.name.lower(), askers.pause_in(lambda: process.wait(60))


def _join(place: Place, new: Any) -> None:
    new.start()
    wait_for(lambda: shared(place), 60, what="each to have two", poll_s=0.2)


class Askers(contextlib.AbstractContextManager["Askers"]):
    """A thread a partition, which asks for one spawn after another; ends with its `with`."""

    def __init__(self, led: ledger.Ledger) -> None:
        self._led = led
        self._answered_s: list[list[float]] = [[] for _ in range(PARTITIONS)]
        self._stop = threading.Event()
        work = [threading.Thread(target=self._ask, args=(n,)) for n in range(PARTITIONS)]
        self._threads = work
        for thread in work:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, answers: int = 20) -> None:
        """Return when each has so many more answers."""
        wanted = [len(times) + answers for times in self._answered_s]
        wait_for(lambda: self._reached(wanted), 60, what="answers")

    def pause_in(self, act: Callable[[], object]) -> float:
        """The longest time between two answers while this happens, and until all goes on."""
        since = [max(0, len(times) - 1) for times in self._answered_s]
        act()
        self.more()
        return max(
            later_s - earlier_s
            for times, first in zip(self._answered_s, since, strict=True)
            for earlier_s, later_s in zip(times[first:], times[first + 1 :], strict=False)
        )

    def _reached(self, wanted: list[int]) -> bool:
        assert all(thread.is_alive() for thread in self._threads), "an asker ended"
        return all(len(t) >= n for t, n in zip(self._answered_s, wanted, strict=True))

    def _ask(self, partition: int) -> None:
        times = self._answered_s[partition]
        names = (f"ask-{number}" for number in count())
        mine = (name for name in names if partition_of(name.encode(), PARTITIONS) == partition)
        while not self._stop.is_set():
            with self._led.run("r", run=next(mine)) as run:
                for _ in range(SPAWNS):
                    with run.spawn("a"):
                        times.append(time.monotonic())
                    _pause(EVERY_S)
                    if self._stop.is_set():
                        return
