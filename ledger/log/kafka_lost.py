"""Records that are gone for good: which, by whose word, and whether that covers a hole.

What a newcomer would get wrong
    This is only what such a word means. Writing and reading it is `kafka_refused`; an archive is
    proved where nothing of Kafka is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

RANGE_LOST = "range_lost"


class Lost(NamedTuple):
    """Records of a partition that a person accepted as lost: `first` to `last`.

    `reason` says so in words, and stands at `pos` of the refused topic (-1: not there).
    """

    partition: int
    first: int
    last: int
    pos: int = -1
    reason: str = ""

    def said(self, why: str) -> str:
        """The reason as it is written down."""
        return f"{RANGE_LOST}: offsets {self.first} to {self.last} are accepted as lost: {why}"


def uncovered(accepted: Iterable[Lost], first: int, last: int) -> list[tuple[int, int]]:
    """What of `first` to `last` was not accepted as lost: (first, last) of each range."""
    found = []
    for one in sorted(accepted, key=lambda one: one.first):
        if one.first > last:
            break
        if first < one.first:
            found.append((first, one.first - 1))
        first = max(first, one.last + 1)
    return [*found, (first, last)] if first <= last else found


def covered(accepted: Iterable[Lost], first: int, last: int) -> bool:
    """Whether all of `first` to `last` was accepted as lost, in one range or in several."""
    return not uncovered(accepted, first, last)
