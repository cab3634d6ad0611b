"""What the tables hold, and the SQL that reads and writes it: functions of a connection.

What a newcomer would get wrong
    Positions are exclusive: what comes after 7 begins at 8. Each call is bounded by `limit`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import apsw

TRIM_ROWS = 5_000
"""Rows of a table that one step of a trim deletes; then it lets the writers in."""


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


def add_events(connection: apsw.Connection, rows: Sequence[tuple[str, bytes]]) -> int:
    """Append (run, value) with the time it is, never earlier than the last; the first's offset."""
    last = last_key(connection, "events")
    clock = connection.execute("SELECT append_ms FROM events WHERE offset = ?", (last,)).get or 0
    append_ms = max(clock, now_ms())
    connection.executemany(
        "INSERT INTO events(append_ms, run, value) VALUES (?, ?, ?)",
        [(append_ms, run, value) for run, value in rows],
    )
    return last + 1


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
