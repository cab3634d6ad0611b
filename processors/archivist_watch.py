"""What an archivist was given and does not archive: since when, and why.

What a newcomer would get wrong
    Who holds nothing has no lag. So what is assigned and not held is counted by its time, and so
    are commits that fail: each is tried again for ever, and between two tries all looks well.
    Kafka's own marks of transactions are never delivered: a few positions that the archive lacks
    are no sign of anything, unless records of them were gathered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from faust.types import TP

WAITS_S = 15.0
"""Partitions are taken over well within this."""
FAILS_S = 30.0
"""A commit takes a second or less; one that failed is tried again within ten."""
NAMED_MAX = 3
"""So many partitions are named in a sentence; the report has all."""
BEHIND_MS_MAX = 3_600_000
"""Nothing is lost by being behind, but who is behind for an hour does not keep up, or stands."""
SAY_EVERY_S = 60.0


class Watch:
    """Of one archivist, which tells it what happens; `clock` is in seconds.

    `joined`: the group has said what is ours, if that is nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.joined = False
        self._clock = clock
        self._waits: dict[TP, float] = {}
        self._fails_s: float | None = None
        self._why = ""
        self._said_s = 0.0

    def wait(self, partitions: Iterable[TP]) -> None:
        """These are ours and not held."""
        for tp in partitions:
            self._waits.setdefault(tp, self._clock())

    def forget(self, partitions: Iterable[TP]) -> None:
        """These are held, or others' business."""
        for tp in partitions:
            self._waits.pop(tp, None)
        if not self._waits and self._fails_s is None:
            self._why = ""

    def only(self, partitions: set[TP]) -> None:
        """These are ours and no others."""
        self.joined = True
        self.forget(self._waits.keys() - partitions)

    def failed(self, why: str) -> None:
        """The archive or the brokers could not be reached, or not be written."""
        self._why = why

    def committing(self) -> None:
        """A commit begins; how long it takes counts as well."""
        if self._fails_s is None:
            self._fails_s = self._clock()

    def committed(self) -> None:
        """The commit is done."""
        self._fails_s, self._why = None, ""

    def waiting(self) -> dict[TP, float]:
        """What is not held, each with the seconds since it was."""
        now_s = self._clock()
        return {tp: now_s - since_s for tp, since_s in sorted(self._waits.items())}

    def problems(self, broken: Iterable[TP]) -> list[str]:
        """What is not archived for too long; why `broken` ones are not is said elsewhere."""
        if not self.joined:
            return ["it has not joined the group of archivists yet"]
        why = f": {self._why}" if self._why else ""
        waits = {tp: for_s for tp, for_s in self.waiting().items() if for_s >= WAITS_S}
        for tp in broken:
            waits.pop(tp, None)
        if waits:
            named = [f"{tp.topic} {tp.partition}" for tp in waits]
            if len(named) > NAMED_MAX:
                named[NAMED_MAX:] = [f"and {len(named) - NAMED_MAX} more"]
            return [f"not archived for {max(waits.values()):.0f} s: {', '.join(named)}{why}"]
        fails_s = 0.0 if self._fails_s is None else self._clock() - self._fails_s
        if fails_s >= FAILS_S:
            return [f"nothing was archived for {fails_s:.0f} s{why}"]
        return []

    def late(self, lag: int, behind_ms: int) -> str:
        """A sentence where we do not keep up; empty where we do, or said so lately."""
        now_s = self._clock()
        if behind_ms < BEHIND_MS_MAX or now_s - self._said_s <= SAY_EVERY_S:
            return ""
        self._said_s = now_s
        return (
            f"{lag} records are not archived, the oldest is up to {behind_ms // 1000} s old; "
            "Kafka keeps them; start more archivists"
        )
