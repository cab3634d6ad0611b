"""The writers' lock: one process writes at a time, and nobody starves.

What a newcomer would get wrong
    SQLite's own lock keeps the file right. This one keeps it fair: SQLite's waiters sleep
    longer the longer they wait, and one was seen to wait four seconds.
    `flock` belongs to the open file, so a forked child holds its parent's lock. The child
    closes what it inherited (`forget`), which frees nothing of the parent's, and opens its own.
    The lock file is never deleted: two files of one name would be two locks.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_NAP_S = 0.0002
_NAPS_SHORT = 500


class WritersLock:
    """The lock in the file `path`, for one thread of this process at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock, or False when somebody else held it for `timeout_s`.

        Raises OSError where the lock file cannot be opened.
        """
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        until = time.monotonic() + timeout_s
        naps = 0
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
                # No blocking flock: it knows no timeout, and its holder may be frozen.
                time.sleep(_NAP_S if naps < _NAPS_SHORT else 10 * _NAP_S)
                naps += 1
            else:
                return True

    def release(self) -> None:
        """Let the next one write."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Close the descriptor; after a fork this leaves the parent's lock as it is."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def holder(self) -> str:
        """Who holds the lock, for a person: `process 4711 (python3)`, or `another process`."""
        try:
            inode = str(os.stat(self.path).st_ino)
            lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
            for line in lines:
                # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF; waiters have "->" after 1:
                words = line.split()
                if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
                    name = Path(f"/proc/{words[4]}/comm").read_text(encoding="utf-8").strip()
                    return f"process {words[4]} ({name})"
        except (OSError, IndexError, UnicodeDecodeError):
            pass
        return "another process"
