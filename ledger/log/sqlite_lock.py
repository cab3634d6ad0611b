"""The writers' lock: one process writes at a time, and nobody starves.

What a newcomer would get wrong
    SQLite's own lock keeps the file right. This one keeps it fair: SQLite's waiters sleep
    longer the longer they wait, and one was seen to wait four seconds.
    Only a blocking `flock` queues in the kernel, and it knows no timeout, while its holder may
    be frozen. So after a few tries a thread blocks for us. Four writers without a pause,
    slowest of a hundred waits: 24 ms by trying alone, 6 ms so; the same rate (measured).
    `flock` belongs to the open file, so a forked child holds its parent's lock. The child
    closes what it inherited (`forget`), which frees nothing of the parent's, and opens its own.
    The lock file is never deleted: two files of one name would be two locks.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from queue import SimpleQueue

_TRIES = 6
_NAP_S = 0.0002


class _Wait:
    """One wait for the lock. Either it is granted or it is given up, whichever is first."""

    __slots__ = ("_mutex", "granted", "over")

    def __init__(self) -> None:
        self.over = threading.Event()
        self._mutex = threading.Lock()
        self.granted: bool | None = None

    def end(self, *, granted: bool) -> bool:
        """Settle it, unless that is done; how it is settled."""
        with self._mutex:
            if self.granted is None:
                self.granted = granted
                self.over.set()
            return self.granted


class WritersLock:
    """The lock in the file `path`, for one thread of this process at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle: int | None = None
        self._waits: SimpleQueue[_Wait | None] | None = None
        self._last: _Wait | None = None

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock, or False when somebody else held it for `timeout_s`.

        Raises OSError where the lock file cannot be opened.
        """
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # While a wait that was given up still stands in the queue, the lock may become ours and
        # be let go at any time: then queue behind it.
        if self._last is None and self._try(self._handle):
            return True
        return self._queue(self._handle, timeout_s)

    def _try(self, handle: int) -> bool:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if left:
                    time.sleep(_NAP_S)
            else:
                return True
        return False

    def _queue(self, handle: int, timeout_s: float) -> bool:
        if self._waits is None:
            self._waits = SimpleQueue()
            arguments = (handle, self._waits)
            threading.Thread(
                target=_stand_in_line, args=arguments, name="ledger-lock", daemon=True
            ).start()
        wait = _Wait()
        self._waits.put(wait)
        try:
            wait.over.wait(timeout_s)
        finally:
            # Also when an interrupt ends the wait: else the lock would be granted to nobody.
            granted = wait.end(granted=False)
            self._last = None if granted else wait
        return granted

    def release(self) -> None:
        """Let the next one write. Without the lock: nothing."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._waits is not None:
            self._waits.put(None)  # The thread closes it, so that it never waits on a stranger's.
        elif self._handle is not None:
            os.close(self._handle)
        self._handle = self._waits = self._last = None

    def forget(self) -> None:
        """In a forked child: close what was inherited; the parent's lock stays as it is."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = self._waits = self._last = None

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


def _stand_in_line(handle: int, waits: SimpleQueue[_Wait | None]) -> None:
    """The thread: blocks in the kernel's queue, one wait after the other, until there is None."""
    while (wait := waits.get()) is not None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not wait.end(granted=True):
            fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
