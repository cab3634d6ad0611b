"""Rows of a log, as whoever reads it gets them, whichever log it is.

What a newcomer would get wrong
    Positions (`pos`) count within one topic of one log. In a file the first offset is 1; on Kafka
    an offset is one of its partition, and the first is 0.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """An event as it is in the log; `append_ms` since 1970, `value` as it was given."""

    offset: int
    append_ms: int
    run: str
    value: bytes


class VerdictRow(NamedTuple):
    """A verdict; `offset` is that of the event it is about."""

    pos: int
    offset: int
    run: str
    value: bytes


class ControlRow(NamedTuple):
    """An order, as every client must see it."""

    pos: int
    run: str
    value: bytes


class RefusedRow(NamedTuple):
    """Bytes that are no event; `offset` where they got one before they were refused."""

    pos: int
    append_ms: int
    offset: int | None
    source: str
    reason: str
    value: bytes


class Refusal(NamedTuple):
    """What goes to the refused log: the bytes, who sent them, why; their offset if they had one."""

    offset: int | None
    source: str
    reason: str
    value: bytes
