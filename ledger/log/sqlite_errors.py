"""From what SQLite and the system say to what a person can act on: which file, what, what to do."""

from __future__ import annotations

import errno
import os

import apsw

from ledger.log import (
    LogCorrupt,
    LogError,
    LogForeign,
    LogFull,
    LogLocked,
    LogMissing,
    LogUnwritable,
)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(
    problem: BaseException, path: str, connection: apsw.Connection | None
) -> BaseException:
    """The LogError for an error of apsw; anything else as it is."""
    if isinstance(problem, (apsw.BusyError, apsw.LockedError, apsw.ProtocolError)):
        return locked(path, "another program")
    if isinstance(problem, apsw.CorruptError):
        return LogCorrupt(
            path,
            "the file is damaged",
            "end its users and keep a copy; what was archived is safe, so begin a new log",
        )
    if isinstance(problem, apsw.NotADBError):
        return LogForeign(path, "it is no ledger log", "name another file for the log")
    if isinstance(problem, apsw.FullError):
        return from_errno(path, errno.ENOSPC)
    disk = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError)
    if isinstance(problem, disk):
        return from_errno(path, connection.system_errno if connection else 0)
    return problem


def locked(path: str, who: str) -> LogLocked:
    """`who` held it longer than we wait."""
    return LogLocked(
        path,
        f"{who} holds it and does not let go, nothing was written",
        "if that process is stopped, resume or end it; then try again",
    )


def removed(path: str) -> LogMissing:
    """The file went while it was in use."""
    return LogMissing(
        path,
        "the file was removed or replaced while in use",
        "put it back, or start this process again to begin a new log",
    )


def from_errno(path: str, number: int) -> LogError:
    """LogFull, LogMissing or LogUnwritable, by what the system said (0: it said nothing)."""
    if number == errno.ENOENT:
        return removed(path)
    if number in _NO_SPACE:
        return LogFull(
            path,
            "no space is left on its disk, nothing was written",
            "free some space; the log then goes on by itself",
        )
    why = os.strerror(number) if number else "read-only"
    return LogUnwritable(
        path,
        f"it cannot be opened or written ({why})",
        "check the rights of the file and of its folder",
    )
