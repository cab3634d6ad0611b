"""What the transport hands out, and what it asks of whoever holds the partitions it reads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from faust.types import TP

from ledger.log.kafka_unreadable import Unreadable

MARKS_MAX = 16
"""So few at the end may be Kafka's own marks, where a publisher uses transactions."""
CUT_OFF = "no broker answers that coordinates its group"
NO_MEMBER = "it is no member of its group"
"""Why a worker is not well; it waits, as long as that takes."""


class Chunk(NamedTuple):
    """Records of one partition, in order, fetched from the offset `start` on.

    A record has `offset`, `timestamp`, `timestamp_type`, `key`, `value` and `headers`.

    A `start` past the holder's next offset means that a chunk was lost. A first record past
    `start` does not: that is where Kafka keeps its own marks.
    """

    start: int
    records: list[Any]


def to_stderr(role: str) -> Callable[[str], None]:
    """How a holder of this role says what a person shall know."""
    return lambda text: print(f"ledger {role}: {text}", file=sys.stderr, flush=True)


class Holder(Protocol):
    """Who holds partitions, as the transport sees it. All calls are on the app's loop."""

    def wants(self, tp: TP) -> int | None:
        """The offset to go on from; None while the partition cannot be read."""

    def broken(self, tp: TP, problem: Exception) -> None:
        """The partition cannot be read on from there: the log ends earlier, or begins later."""

    def unreadable(self, tp: TP, problem: Unreadable) -> None:
        """What comes next of the partition cannot be read; it is tried again and again."""

    async def assigned(self, partitions: set[TP]) -> None:
        """These and no others are ours. Must not take long."""

    async def revoked(self, partitions: set[TP], *, lost: bool) -> None:
        """Settle these; `lost`: others have them already, so write nothing."""

    async def stopping(self) -> None:
        """Settle everything, the worker ends."""
