"""What the tables hold, and the SQL that reads and writes it: functions of a connection.

What a newcomer would get wrong
    Positions are exclusive: what comes after 7 begins at 8. Each call is bounded by `limit`.
    Many rows are one statement, not one statement many times: each step gives the interpreter
    away under the writers' lock, and a thread that computes takes its time to give it back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import apsw

from ledger.log.rows import ControlRow, Refusal, RefusedRow, Row, VerdictRow

__all__ = ["ControlRow", "Refusal", "RefusedRow", "Row", "VerdictRow"]

TRIM_ROWS = 1_000
"""Rows of a table that one step of a trim deletes, in 1 ms; then it lets the writers in."""


def last_key(connection: apsw.Connection, table: str) -> int:
    """The highest offset or position ever given in `table`, 0 before the first; trims or not."""
    return connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).get or 0


def events(connection: apsw.Connection, after: int, limit: int) -> list[Row]:
    """Events of all runs."""
    sql = (
        "SELECT offset, append_ms, run, value FROM events WHERE offset > ? ORDER BY offset LIMIT ?"
    )
    return list(map(Row._make, connection.execute(sql, (after, limit))))


def events_of(connection: apsw.Connection, run: str, after: int, limit: int) -> list[Row]:
    """Events of one run."""
    sql = (
        "SELECT offset, append_ms, run, value FROM events "
        "WHERE offset > ? AND run = ? ORDER BY offset LIMIT ?"
    )
    return list(map(Row._make, connection.execute(sql, (after, run, limit))))


def verdicts(
    connection: apsw.Connection, after: int, limit: int, run: str | None
) -> list[VerdictRow]:
    """Verdicts of one run, or of all."""
    sql = (
        "SELECT pos, offset, run, value FROM verdicts "
        "WHERE pos > ?1 AND (?3 IS NULL OR run = ?3) ORDER BY pos LIMIT ?2"
    )
    return list(map(VerdictRow._make, connection.execute(sql, (after, limit, run))))


def control(connection: apsw.Connection, after: int, limit: int) -> list[ControlRow]:
    """Orders."""
    sql = "SELECT pos, run, value FROM control WHERE pos > ? ORDER BY pos LIMIT ?"
    return list(map(ControlRow._make, connection.execute(sql, (after, limit))))


def refused(connection: apsw.Connection, after: int, limit: int) -> list[RefusedRow]:
    """Refusals."""
    sql = (
        "SELECT pos, append_ms, offset, source, reason, value FROM refused "
        "WHERE pos > ? ORDER BY pos LIMIT ?"
    )
    return list(map(RefusedRow._make, connection.execute(sql, (after, limit))))


ROWS_AT_ONCE = 1024
"""Rows of one statement; SQLite allows 32,766 values, and apsw keeps statements up to 16 KB."""
_CLOCK = (
    "SELECT append_ms FROM events WHERE offset = "
    "(SELECT seq FROM sqlite_sequence WHERE name = 'events')"
)
_EVENTS = "INSERT INTO events(append_ms, run, value) SELECT ?1, column1, column2"
_EVENTS_CLOCKED = _EVENTS.replace("?1", f"max(?1, coalesce(({_CLOCK}), 0))")


def add_events(connection: apsw.Connection, rows: Sequence[tuple[str, bytes]]) -> int:
    """Append (run, value) with the time it is, never earlier than the last; the first's offset."""
    append_ms = max(connection.execute(_CLOCK).get or 0, now_ms())
    _insert(connection, _EVENTS, rows, append_ms)
    return connection.last_insert_rowid() - len(rows) + 1


def add_few_events(connection: apsw.Connection, rows: Sequence[tuple[str, bytes]]) -> int:
    """As `add_events`, at most ROWS_AT_ONCE in a single statement; dearer for many rows."""
    assert len(rows) <= ROWS_AT_ONCE
    _insert(connection, _EVENTS_CLOCKED, rows, now_ms())
    return connection.last_insert_rowid() - len(rows) + 1


def add_verdicts(connection: apsw.Connection, rows: Sequence[tuple[int, str, bytes]]) -> None:
    """Add verdicts as (offset, run, value)."""
    into = "INSERT INTO verdicts(offset, run, value) SELECT column1, column2, column3"
    _insert(connection, into, rows)


def _insert(
    connection: apsw.Connection, into: str, rows: Sequence[tuple[Any, ...]], *first: int
) -> None:
    """Insert rows, whose first column is never NULL, in order; `first` are the values before."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        # A power of two, so that the statements are few; what it is too long by is left out.
        many, width = 1 << (len(part) - 1).bit_length(), len(part[0])
        values = [value for row in part for value in row]
        values += [None] * (width * (many - len(part)))
        connection.execute(_statement(into, many, width), (*first, *values))


@cache
def _statement(into: str, many: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} FROM (VALUES {', '.join([row] * many)}) WHERE column1 IS NOT NULL"


def add_control(connection: apsw.Connection, rows: Sequence[tuple[str, bytes]]) -> int:
    """Add orders as (run, value); the position of the last."""
    connection.executemany("INSERT INTO control(run, value) VALUES (?, ?)", rows)
    return last_key(connection, "control")


def add_refused(connection: apsw.Connection, refusals: Sequence[Refusal]) -> int:
    """Add refusals; the position of the last."""
    now = now_ms()
    connection.executemany(
        "INSERT INTO refused(append_ms, offset, source, reason, value) VALUES (?, ?, ?, ?, ?)",
        [(now, *one) for one in refusals],
    )
    return last_key(connection, "refused")


CONTROL_KEPT = 10_000
"""Orders that clients who start now are still told of; each is also an event of its run."""


def trim(connection: apsw.Connection, offset: int, verdict_pos: int, refused_pos: int) -> int:
    """One step of a trim below the three, and below the checkpoints; how many rows went."""
    found = connection.execute("SELECT marker_offset, marker_pos FROM judge").get
    marker_offset, marker_pos = found
    newest = last_key(connection, "events")  # It stays: it carries the clock.
    return (
        _delete(connection, "events", "offset", min(offset, marker_offset, newest))
        + _delete(connection, "verdicts", "pos", min(verdict_pos, marker_pos + 1))
        + _delete(connection, "refused", "pos", refused_pos)
        + _delete(connection, "control", "pos", last_key(connection, "control") - CONTROL_KEPT)
    )


def _delete(connection: apsw.Connection, table: str, key: str, below: int) -> int:
    connection.execute(
        f"DELETE FROM {table} WHERE {key} IN "
        f"(SELECT {key} FROM {table} WHERE {key} < ? ORDER BY {key} LIMIT ?)",
        (below, TRIM_ROWS),
    )
    return connection.changes()


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
