"""From rows of the log to records of the fold, and to the verdicts that were published on them.

What a newcomer would get wrong
    A row may be no event: bytes that cannot be read, or a key that is not the event's run. The
    judge refuses it and the fold never sees it; whoever folds the log again skips it likewise.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.core.events import Record
from ledger.core.verdicts import Verdict
from ledger.log.sqlite import SqliteLog
from ledger.log.sqlite_rows import Row, VerdictRow
from ledger.wire import UnreadableEvent, decode, decode_verdict

READ_ROWS = 1_000
"""Rows asked of the log at once while restoring."""


def record_of(row: Row) -> Record:
    """The record that this row is. Raises UnreadableEvent, whose reason is for the refused log."""
    offset, append_ms, run, value = row
    event = decode(value)
    if event.run != run:
        raise UnreadableEvent(
            f"run: its key in the log is {run!r:.140}, it says {event.run!r:.140}"
        )
    return Record(offset, append_ms, event)


def published(
    log: SqliteLog, *, after_offset: int, after_pos: int, until_offset: int
) -> Iterator[tuple[Record, Verdict | None]]:
    """The records after `after_offset` and before `until_offset`, each with its verdict.

    The verdicts are those after `after_pos`; None: nothing was said. Unreadable rows are left out.
    """
    verdicts = _verdicts(log, after_pos)
    said = next(verdicts, None)
    for row in _rows(log, after_offset, until_offset):
        while said is not None and said.offset < row.offset:
            said = next(verdicts, None)
        try:
            record = record_of(row)
        except UnreadableEvent:
            continue
        about = said is not None and said.offset == row.offset
        yield record, decode_verdict(said.value) if about and said is not None else None


def _rows(log: SqliteLog, after: int, until: int) -> Iterator[Row]:
    while rows := log.read(after, max(0, min(READ_ROWS, until - 1 - after))):
        yield from rows
        after = rows[-1].offset


def _verdicts(log: SqliteLog, after: int) -> Iterator[VerdictRow]:
    while rows := log.verdicts(after, READ_ROWS):
        yield from rows
        after = rows[-1].pos
