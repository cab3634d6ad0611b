"""How a worker of judges is: what it holds, how far behind it is, and whether that is well.

What a newcomer would get wrong
    Whoever holds nothing is well too: there may be more workers than partitions.
    A loop that hangs answers nothing, so whoever asks needs a time limit of his own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from faust.types import TP

from .holder import MARKS_MAX
from .judge import Judge
from .partition import Partition

LAG_MAX = 100_000
"""Events that a partition may be behind; at 20,000 events/s that is five seconds."""
UNHEARD_S = 20.0
"""Brokers acknowledge in milliseconds. It is less than what makes a judge start over, so that
whoever watches sees it first."""
STUCK_S = 30.0
"""A partition that is behind and folded nothing for so long makes no headway."""


class Health:
    """Of one `judge`. `highwater` gives the end of a partition as far as the feed knows it."""

    def __init__(
        self, judge: Judge, topic: str, highwater: Callable[[TP], int], lag_max: int = LAG_MAX
    ) -> None:
        self.judge, self.topic, self.lag_max = judge, topic, lag_max
        self._highwater = highwater
        self._judged, self._at_s = 0, time.monotonic()
        self.rate = 0.0

    def lag(self, partition: Partition) -> int:
        """Events of the partition that are not judged yet, as far as the feed knows."""
        try:
            end = self._highwater(TP(self.topic, partition.number))
        except Exception:  # The feed has no place for it yet, or no more.
            return 0
        return max(0, (end or 0) - partition.memory.next_offset)

    def measure(self) -> float:
        """Events a second since this was last called."""
        now_s, judged = time.monotonic(), self.judge.judged
        self.rate = (judged - self._judged) / max(now_s - self._at_s, 0.001)
        self._judged, self._at_s = judged, now_s
        return self.rate

    def told(self) -> str:
        """Which partitions are judged, once that is settled; empty while it is not."""
        judge = self.judge
        known = judge.held.keys() | judge.broken_partitions.keys()
        if not judge.joined or judge.assigned_partitions - known:
            return ""
        return f"judging {ranges(judge.held)} of {judge.partitions} partitions"

    def status(self) -> str:
        """How it goes, in a line for a terminal; call it once a second."""
        judge, rate = self.judge, self.measure()
        lag = sum([self.lag(one) for one in judge.held.values()])
        told = self.told() or "taking partitions over"
        return f"{told}: {judge.judged:,} events, {rate:,.0f}/s, {lag:,} to judge"

    def problems(self) -> list[str]:
        """Why the worker is not well; nothing: all it was given is judged."""
        judge = self.judge
        if not judge.joined:
            return ["it has not joined the group of judges yet"]
        found = [why] if (why := judge.cut_off()) else []
        held = judge.held
        for number in sorted(judge.assigned_partitions):
            if number in judge.broken_partitions:
                found.append(judge.broken_partitions[number])
            elif number not in held:
                found.append(f"partition {number} is being taken over")
            else:
                found += self._behind(held[number])
        return found

    def report(self) -> dict[str, Any]:
        """All of it, for a person or a program."""
        judge = self.judge
        problems = self.problems()
        return {
            "ok": not problems,
            "problems": problems,
            "assigned": sorted(judge.assigned_partitions),
            "judged": judge.judged,
            "refused": judge.refused,
            "muted": judge.muted,
            "partitions": {
                str(number): {
                    "next_offset": one.memory.next_offset,
                    "lag": self.lag(one),
                    "runs": len(one.memory.state.runs),
                }
                for number, one in sorted(judge.held.items())
            },
        }

    def _behind(self, partition: Partition) -> list[str]:
        lag = self.lag(partition)
        if lag > self.lag_max:
            return [f"partition {partition.number} is {lag} events behind of {self.lag_max}"]
        unheard_s = partition.unheard_s()
        if unheard_s > UNHEARD_S:
            return [
                f"what was said of partition {partition.number} is not acknowledged "
                f"for {unheard_s:.0f} s"
            ]
        silent_s = time.monotonic() - partition.fed_s
        if lag > MARKS_MAX and silent_s > STUCK_S:
            return [
                f"partition {partition.number} is {lag} behind and stands still {silent_s:.0f} s"
            ]
        return []


def ranges(numbers: Iterable[int]) -> str:
    """`none`, `0-3,7`."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in spans) or "none"
