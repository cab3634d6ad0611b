"""Who may judge, what the judge commits, and which processes are still there to hear it.

What a newcomer would get wrong
    Judgeship is a row, not a file lock: a frozen judge cannot let go of a lock, and a forked
    child would keep it. Each commit is conditional on the epoch, so who lost it writes nothing.
    Heartbeats are on the clock since boot, which runs through suspend and never jumps; one of
    an earlier boot is stale.
    `judge.next_offset` says what is decided. The marker (`marker_offset`, `marker_pos`) says
    where the checkpoints stand: the events between are applied with their verdicts, not
    decided anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import apsw

from ledger.log import JudgeTooOld
from ledger.log.sqlite_rows import add_verdicts, last_key

_GONE = -1


class JudgeRow(NamedTuple):
    """Who judges. `heartbeat_age_ms` is None where there was none since this machine booted."""

    epoch: int
    version: int
    holder: str
    heartbeat_age_ms: int | None
    next_offset: int


class Judged(NamedTuple):
    """What one commit of the judge carries; see SqliteLog.commit_judged."""

    next_offset: int
    verdicts: Sequence[tuple[int, str, bytes]]
    checkpoints: Mapping[str, bytes | None] | None


def boottime_ms() -> int:
    """Milliseconds since this machine started, time in suspend included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


@cache
def boot_id() -> str:
    """Names this start of this machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def judge_row(connection: apsw.Connection) -> JudgeRow:
    """The row as it is."""
    epoch, version, holder, boot, heartbeat_ms, next_offset = connection.execute(
        "SELECT epoch, version, holder, boot, heartbeat_ms, next_offset FROM judge"
    ).get
    age_ms = boottime_ms() - heartbeat_ms
    if not holder or boot != boot_id() or age_ms < 0:  # Below 0: before the last start.
        return JudgeRow(epoch, version, holder, None, next_offset)
    return JudgeRow(epoch, version, holder, age_ms, next_offset)


def take(connection: apsw.Connection, holder: str, version: int, stale_ms: int) -> int | None:
    """The new epoch, or None while another judge's heartbeat is younger than `stale_ms`.

    Raises JudgeTooOld where a higher version has judged.
    """
    found = judge_row(connection)
    if version < found.version:
        raise JudgeTooOld(connection.filename, version=version, needed=found.version)
    if found.heartbeat_age_ms is not None and found.heartbeat_age_ms < stale_ms:
        return None
    connection.execute(
        "UPDATE judge SET epoch = epoch + 1, version = ?, holder = ?, boot = ?, heartbeat_ms = ?",
        (version, holder, boot_id(), boottime_ms()),
    )
    return found.epoch + 1


def beat(connection: apsw.Connection, epoch: int) -> bool:
    """Renew the heartbeat; False for who judges no more."""
    connection.execute(
        "UPDATE judge SET heartbeat_ms = ?, boot = ? WHERE epoch = ? AND holder != ''",
        (boottime_ms(), boot_id(), epoch),
    )
    return connection.changes() == 1


def resign(connection: apsw.Connection, epoch: int) -> bool:
    """End the judgeship, so that the next judge need not wait for a stale heartbeat."""
    connection.execute("UPDATE judge SET holder = '' WHERE epoch = ?", (epoch,))
    return connection.changes() == 1


def commit(connection: apsw.Connection, epoch: int, judged: Judged) -> bool:
    """Write verdicts, next offset, checkpoints and heartbeat, or nothing without the epoch."""
    lowest = min((judged.next_offset, *(offset for offset, _, _ in judged.verdicts)))
    connection.execute(
        "UPDATE judge SET heartbeat_ms = ?, boot = ?, next_offset = ? "
        "WHERE epoch = ? AND holder != '' AND next_offset <= ?",
        (boottime_ms(), boot_id(), judged.next_offset, epoch, lowest),
    )
    if not connection.changes():
        assert not beat(connection, epoch), "what was decided is decided again"
        return False
    add_verdicts(connection, judged.verdicts)
    if judged.checkpoints is not None:
        _checkpoint(connection, judged)
    return True


def _checkpoint(connection: apsw.Connection, judged: Judged) -> None:
    assert judged.checkpoints is not None
    kept = [(run, state) for run, state in judged.checkpoints.items() if state is not None]
    gone = [(run,) for run, state in judged.checkpoints.items() if state is None]
    connection.executemany(
        "INSERT INTO checkpoints(run, state) VALUES (?, ?) "
        "ON CONFLICT(run) DO UPDATE SET state = excluded.state",
        kept,
    )
    connection.executemany("DELETE FROM checkpoints WHERE run = ?", gone)
    connection.execute(
        "UPDATE judge SET marker_offset = ?, marker_pos = ?",
        (judged.next_offset, last_key(connection, "verdicts")),
    )


# --- holders -----------------------------------------------------------------------------------


def register(connection: apsw.Connection, source: str, pid: int) -> None:
    """Note that the process `pid` of this machine is behind `source`."""
    connection.execute(
        "INSERT OR REPLACE INTO holders(source, place, pid, started) VALUES (?, ?, ?, ?)",
        (source, f"{boot_id()} {_namespace()}", pid, _started(pid)),
    )


def lost(connection: apsw.Connection) -> list[str]:
    """The sources whose process is proved gone: ended, or of an earlier start of the machine.

    A process in another container cannot be seen from here, and is never called lost.
    """
    gone = []
    for source, place, pid, started in connection.execute(
        "SELECT source, place, pid, started FROM holders ORDER BY source"
    ):
        boot, _, namespace = place.partition(" ")
        # A process number is used again, the tick at which its process started is not.
        found = _started(pid)
        ended = found == _GONE or found != started
        if boot != boot_id() or (namespace == _namespace() and ended):
            gone.append(source)
    return gone


@cache
def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def _started(pid: int) -> int:
    """The clock tick at which the process started; _GONE, or 0 where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return _started_elsewhere(pid)
    except OSError:
        return _GONE  # It ended while we read.
    # The name in brackets may hold anything, brackets and spaces too.
    fields = text[text.rindex(b")") + 2 :].split()
    return _GONE if fields[0] in (b"Z", b"X") else int(fields[19])


def _started_elsewhere(pid: int) -> int:
    if os.path.exists("/proc/self/stat"):
        return _GONE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return _GONE
    except PermissionError:
        pass  # It lives, and is somebody else's.
    return 0
