"""Puts what happened at stated times into one order that a fold accepts.

Spans give starts and ends in milliseconds, so many are equal, and a sort alone would let an
agent end before the call it made in its last millisecond. Here each thing waits for what
must come before it; among those that wait for nothing, the earliest goes first, and of equal
times ends before starts, the inner before the outer end, then the order in which they came.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Write = Callable[[int], None]
"""Writes one event; is given its time in ms."""


@dataclass(slots=True, order=True)
class Mark:
    """Something to be written at `at_ms`, once all that it waits for is written."""

    at_ms: int
    starts: bool
    depth: int
    ordinal: int
    write: Write = field(compare=False)
    waits: int = field(default=0, compare=False)
    frees: list[Mark] = field(default_factory=list, compare=False)

    def before(self, other: Mark) -> None:
        """Write this one before the other."""
        self.frees.append(other)
        other.waits += 1


class Timeline:
    """Marks on their way to being written."""

    def __init__(self) -> None:
        self._marks: list[Mark] = []

    def start(self, at_ms: int, depth: int, write: Write) -> Mark:
        """Something that starts, `depth` levels below the root."""
        return self._mark(at_ms, True, depth, write)

    def end(self, at_ms: int, depth: int, write: Write) -> Mark:
        """Something that ends, `depth` levels below the root."""
        return self._mark(at_ms, False, -depth, write)

    def _mark(self, at_ms: int, starts: bool, depth: int, write: Write) -> Mark:
        mark = Mark(at_ms, starts, depth, len(self._marks), write)
        self._marks.append(mark)
        return mark

    def play(self, now_ms: int) -> int:
        """Write all marks, at times that never go back; gives the last time, `now_ms` if none."""
        ready = [mark for mark in self._marks if mark.waits == 0]
        heapq.heapify(ready)
        while ready:
            mark = heapq.heappop(ready)
            now_ms = max(now_ms, mark.at_ms)
            mark.write(now_ms)
            for other in mark.frees:
                other.waits -= 1
                if other.waits == 0:
                    heapq.heappush(ready, other)
        return now_ms
