"""How a worker of archivists is: what it holds, how far behind it is, and whether that is well."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from .archivist import Archivist
from .archivist_watch import BEHIND_MS_MAX
from .metrics import values


class ArchivistHealth:
    """Of one `archivist`."""

    def __init__(self, archivist: Archivist) -> None:
        self.archivist = archivist
        self._rows, self._at_s = 0, time.monotonic()
        self.rate = 0.0

    def told(self) -> str:
        """What is archived; empty while nothing is."""
        held = Counter(self.archivist.logs[tp.topic] for tp in self.archivist.held)
        each = ", ".join(f"{count} of {name}" for name, count in sorted(held.items()))
        return f"archiving {sum(held.values())} partitions ({each})" if held else ""

    def status(self) -> str:
        """How it goes, in a line for a terminal; call it once a second."""
        now_s, rows = time.monotonic(), self.archivist.rows
        self.rate = (rows - self._rows) / max(now_s - self._at_s, 0.001)
        self._rows, self._at_s = rows, now_s
        behind = self.archivist.lag()
        return f"archiving: {rows:,} rows, {self.rate:,.0f}/s, {behind:,} not archived"

    def problems(self) -> list[str]:
        """Why the worker is not well; nothing: all it was given is archived in time."""
        one = self.archivist
        found = one.watch.problems(one.broken_partitions)
        if one.watch.joined and (why := one.cut_off()):
            found.insert(0, why)
        found += one.broken_partitions.values()
        behind_ms = one.behind_ms()
        if behind_ms >= BEHIND_MS_MAX:
            found.append(f"it is {behind_ms // 60_000} minutes behind of {BEHIND_MS_MAX // 60_000}")
        return found

    def report(self) -> dict[str, Any]:
        """All of it, for a person or a program."""
        problems = self.problems()
        held = sorted(self.archivist.held.items())
        waiting = self.archivist.watch.waiting().items()
        return {
            "ok": not problems,
            "problems": problems,
            "rows": self.archivist.rows,
            "lag": self.archivist.lag(),
            "behind_ms": self.archivist.behind_ms(),
            "partitions": {f"{tp.topic} {tp.partition}": position for tp, position in held},
            "waiting_s": {f"{tp.topic} {tp.partition}": round(for_s) for tp, for_s in waiting},
        }

    def collect(self) -> Iterator[Metric]:
        """Counters and gauges for Prometheus."""
        one = self.archivist
        counters = {
            "rows": ("rows archived", one.rows),
            "commits": ("commits to the archive", one.commits),
            "conflicts": ("commits of others that came first", one.conflicts),
            "lost": ("partitions lost while held", one.lost),
            "trimmed": ("offsets deleted from Kafka", one.trimming.trimmed),
            "trim_failures": ("times that not all could be deleted", one.trimming.failures),
            "seeks": ("times that the feed was moved back", one.seeks),
        }
        gauges = {
            "healthy": ("1 where /health says 200", int(not self.problems())),
            "partitions": ("partitions archived now", len(one.held)),
            "partitions_broken": ("partitions not archived", len(one.broken_partitions)),
            "rate": ("rows archived a second, lately", self.rate),
            "lag": ("records that are not archived", one.lag()),
            "behind_seconds": ("age of the oldest not archived, at most", one.behind_ms() / 1000),
            "commit_seconds": ("how long the last commit took", one.commit_s),
        }
        yield from values("ledger_archivist", counters, gauges)
