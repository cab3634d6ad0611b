"""Which runs need a tick now: a heap over the deadlines of all runs, brought up to date lazily.

What a newcomer would get wrong
    A deadline usually moves later, with every event. The heap keeps the earlier one; when that
    comes up the run is asked again. So an event costs a look-up, not a push.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

TICK_AGAIN_MS = 1_000
"""A tick that moved no deadline is written again after this."""
TICKS_MAX = 500
"""Ticks that are due at once, at most; the rest are due at the next look."""
_NEVER = 2**63


class Deadlines:
    """Deadlines by run, in ms of the log's clock. 0 is no deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._set: dict[str, int] = {}

    def note(self, run: str, at_ms: int) -> None:
        """The run is due at `at_ms`; only an earlier time than is known already matters."""
        if 0 < at_ms < self._set.get(run, _NEVER):
            self._set[run] = at_ms
            heapq.heappush(self._heap, (at_ms, run))

    def next_ms(self) -> int:
        """When to look next; 0: never. May be too early, never too late."""
        return self._heap[0][0] if self._heap else 0

    def due(self, now_ms: int, deadline: Callable[[str], int]) -> list[str]:
        """The runs whose `deadline` (asked afresh) has come. Each comes again until it moves."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < TICKS_MAX:
            at_ms, run = heapq.heappop(self._heap)
            if self._set.get(run) != at_ms:
                continue
            del self._set[run]
            actual_ms = deadline(run)
            if actual_ms > now_ms:
                self.note(run, actual_ms)
            elif actual_ms:
                found.append(run)
                self.note(run, now_ms + TICK_AGAIN_MS)
        return found
