"""The tables of the embedded log, and how a file becomes one.

What a newcomer would get wrong
    Offsets and positions come from AUTOINCREMENT: plain row ids start again after a trim.
    There is no index by run: it halves the rate of appends and writes five times the bytes
    (measured). Runs are looked up in the archive; here the table is short, and scanned.
"""

from __future__ import annotations

import os

import apsw

APPLICATION_ID = 0x4C656467  # "Ledg": how `file` and we know the file.
FORMAT = 1
"""Raised with every change that an older version would misread."""

_TABLES = """
CREATE TABLE events(
    offset INTEGER PRIMARY KEY AUTOINCREMENT, append_ms INTEGER NOT NULL,
    run TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE verdicts(
    pos INTEGER PRIMARY KEY AUTOINCREMENT, offset INTEGER NOT NULL,
    run TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE control(
    pos INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE refused(
    pos INTEGER PRIMARY KEY AUTOINCREMENT, append_ms INTEGER NOT NULL, offset INTEGER,
    source TEXT NOT NULL, reason TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE checkpoints(run TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE policies(digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE holders(
    source TEXT PRIMARY KEY, place TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL);
CREATE TABLE judge(
    one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    holder TEXT NOT NULL, boot TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL,
    next_offset INTEGER NOT NULL, marker_offset INTEGER NOT NULL, marker_pos INTEGER NOT NULL);
INSERT INTO judge VALUES (1, 0, 0, '', '', 0, 1, 1, 0);
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


def create(connection: apsw.Connection) -> None:
    """Make the empty file a log. One transaction: a maker that dies leaves an empty file."""
    # Sticks to the file, and is the one step outside: an empty file in WAL mode is still empty.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("SELECT count(*) FROM sqlite_schema").get:
            connection.execute("ROLLBACK")
            return  # Somebody else was quicker.
        connection.execute(_TABLES)
        connection.execute("INSERT INTO meta VALUES ('log_id', ?)", (os.urandom(8).hex(),))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
