"""Starts a judge process where nobody judges: cheap to ask, and safe to ask from everywhere.

What a newcomer would get wrong
    Whether somebody judges is read from the log, in 0.1 ms; ask as often as you like.
    Many clients find out at once. The file `<log>-judge` says when the last judge was started,
    so that one of them starts one. If it does not come up, the next is started `START_S` later.
    Judgeship itself is decided in the log: two judges that start at once do no harm.
    A late heartbeat starts a candidate before it is stale, which saves the start of Python when
    the judge is frozen. If the heart beats again, the candidate ends.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import ledger
from ledger.core.lifecycle import FOLD_VERSION
from ledger.errors import LedgerError
from ledger.judge.process import gone
from ledger.log import JudgeTooOld
from ledger.log.sqlite import SqliteLog
from ledger.log.sqlite_judge import boottime_ms
from ledger.settings import judge_idle_s, mute_limits

LATE_MS = 350
"""A heartbeat this old is late; at `judge.STALE_MS` its judge is deposed."""
START_S = 3.0
"""How long a judge may take to come up before another is started."""
LOG_BYTES_MAX = 262_144
"""What judges say is kept in `<log>-judge.log`; past this it begins anew."""


class JudgeNotStarted(LedgerError):
    """No process could be started for the judge of the log at `path`; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"no judge process for {self.path}: {self.reason}; "
            'run `ledger up`, or connect with judge="thread"'
        )


def ensure(log: SqliteLog | str | Path) -> bool:
    """Start a judge process if nobody judges the log; True if one was started now.

    Does not wait for it. Raises JudgeNotStarted, JudgeTooOld where a higher version has judged
    and does no more, BadVariable where the judge would not begin, and what opening a log raises.
    """
    mute_limits()
    judge_idle_s()
    if isinstance(log, SqliteLog):
        return _ensure(log)
    with SqliteLog(log) as opened:
        return _ensure(opened)


def _ensure(log: SqliteLog) -> bool:
    if judged(log):
        return False
    needed = log.judge().version
    if needed > FOLD_VERSION:
        raise JudgeTooOld(log.path, version=FOLD_VERSION, needed=needed)
    if not _my_turn(f"{log.path}-judge"):
        return False
    if judged(log):  # It came up between our look and our turn.
        started(log.path)
        return False
    _spawn(log.path)
    return True


def judged(log: SqliteLog) -> bool:
    """Whether a judge is alive, as far as its heartbeat and its process say."""
    row = log.judge()
    age_ms = row.heartbeat_age_ms
    return age_ms is not None and age_ms < LATE_MS and not gone(row.holder)


def started(path: str) -> None:
    """The judge is up: if it ends, another may be started at once."""
    _stamp(f"{path}-judge", 0)


def _my_turn(path: str) -> bool:
    """Whether nobody started a judge a moment ago; if so, it is noted that we do."""
    try:
        with open(path, "a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(32)
            now_ms = boottime_ms()
            at_ms = int(text) if text.isdigit() else 0
            if at_ms and 0 <= now_ms - at_ms < START_S * 1000:
                return False
            file.truncate(0)
            file.write(str(now_ms))
            return True
    except OSError as problem:
        raise JudgeNotStarted(path.removesuffix("-judge"), str(problem)) from problem


def _stamp(path: str, at_ms: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(at_ms))
    except OSError:
        return  # Then the next start waits `START_S`.


def _spawn(path: str) -> None:
    if not sys.executable:
        raise JudgeNotStarted(path, "this interpreter does not know its own path")
    judge = [sys.executable, "-P", "-m", "ledger.judge", path]
    # Through a shell that ends at once: the judge is nobody's child, so that no program waits
    # for it, and none that ends its children ends the judge of all.
    through = ["/bin/sh", "-c", '"$@" &', "sh", *judge]
    command = through if os.path.exists(through[0]) else judge
    try:
        with _judge_log(path) as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=out,
                start_new_session=True,
                env=environment(),
            )
    except OSError as problem:
        raise JudgeNotStarted(path, str(problem)) from problem
    if command is through:
        child.wait()


def _judge_log(path: str) -> BinaryIO:
    where = f"{path}-judge.log"
    full = os.path.exists(where) and os.path.getsize(where) > LOG_BYTES_MAX
    return open(where, "wb" if full else "ab")


def environment() -> dict[str, str]:
    """Ours, and where this package is, in case that is not installed."""
    home = str(Path(ledger.__file__).resolve().parents[1])
    environment = dict(os.environ)
    if not home.endswith(("site-packages", "dist-packages")):
        known = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{known}{os.pathsep}{home}" if known else home
    return environment
