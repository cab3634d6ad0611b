"""How those who share the worker's loop give way to each other.

What a newcomer would get wrong
    An event takes about fifteen turns of the loop to be fetched, judged and answered, and at each
    it waits for what is done at a stretch. So a stretch is short, and is followed by turns in
    which nobody works at length: a turn without work takes some 20 microseconds.
    A judge that is busy has gaps of milliseconds. Checkpoints are cut in those: done at once,
    they would put all verdicts off until the queue that they leave behind is worked off.
"""

from __future__ import annotations

import asyncio
import time

PIECE_RECORDS = 64
"""Folded at a stretch: about a millisecond."""
PIECE_RECORDS_BEHIND = 512
BEHIND_RECORDS = 1_000
"""Who gets so many records at once is behind: the whole is done sooner with larger pieces, because
what goes on between two (a request to the brokers, mostly) takes 150 microseconds."""
SLICE_S = 0.001
"""Written down at a stretch for a checkpoint."""
QUIET_S = 0.002
"""Nothing was folded for so long: a gap."""
PATIENCE_S = 0.02
"""A slice waits so long for a gap ..."""
PATIENCE_ALL_S = 4.0
"""... and all of a checkpoint together so long. Its transaction may not stay open."""
AT_ONCE_RUNS = 20
"""Restored from a checkpoint at a stretch."""
TURNS = 2


def piece_records(fetched: int) -> int:
    """How many of the `fetched` records to fold before giving way."""
    return PIECE_RECORDS_BEHIND if fetched >= BEHIND_RECORDS else PIECE_RECORDS


class Pace:
    """Knows when something was folded last."""

    def __init__(self) -> None:
        self.folded_s = 0.0

    async def gap(self, patience_s: float) -> float:
        """Return in a gap, or when this has taken `patience_s`; how long it took."""
        began_s = now_s = time.monotonic()
        until_s = began_s + min(patience_s, PATIENCE_S)
        while now_s - self.folded_s < QUIET_S and now_s < until_s:
            await asyncio.sleep(QUIET_S)
            now_s = time.monotonic()
        return now_s - began_s


async def give_way(*, first: bool = False) -> None:
    """Let everything go on that waits for its turn; once, before the `first` stretch."""
    for _ in range(1 if first else TURNS):
        await asyncio.sleep(0)
