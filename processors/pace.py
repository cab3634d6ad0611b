"""How those who share the worker's loop give way to each other.

What a newcomer would get wrong
    An event takes about fifteen turns of the loop to be fetched, judged and answered, and at each
    it waits for what is done at a stretch. So a stretch is short, and is followed by turns in
    which nobody works at length: a turn without work takes some 20 microseconds.
"""

from __future__ import annotations

import asyncio

PIECE_RECORDS = 64
"""Folded at a stretch: about two milliseconds."""
PIECE_RECORDS_BEHIND = 128
BEHIND_RECORDS = 1_000
"""Who gets so many records at once is behind: the whole is done sooner with larger pieces."""
SLICE_S = 0.001
"""Written down at a stretch for a checkpoint."""
AT_ONCE_RUNS = 20
"""Restored from a checkpoint at a stretch."""
TURNS = 2


def piece_records(fetched: int) -> int:
    """How many of the `fetched` records to fold before giving way."""
    return PIECE_RECORDS_BEHIND if fetched >= BEHIND_RECORDS else PIECE_RECORDS


async def give_way(*, first: bool = False) -> None:
    """Let everything go on that waits for its turn; once, before the `first` stretch."""
    for _ in range(1 if first else TURNS):
        await asyncio.sleep(0)
