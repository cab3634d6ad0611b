"""A number in shared memory that says, in 0.05 µs, whether a new order may be in the log.

What a newcomer would get wrong
    The number is a hint, the control table is the truth: it holds the position of the last
    control record, so a lost or zeroed file costs speed until the next order, never an order.
    Compare it with what you saw last (`!=`), then read the control table.
    Whoever truncates the file to nothing while it is in use kills its readers (SIGBUS), as
    with every memory-mapped file, SQLite's own `-shm` included. Deleting it is harmless.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_PAGE_BYTES = 4096


class Latch:
    """The counter in the file `path`, shared by every process that opened it.

    Without a file (read-only folder, full disk) it still works, within this process alone.
    """

    __slots__ = ("_inode", "_map", "_words", "path")

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._inode: tuple[int, int] | None = None
        self._attach()

    def value(self) -> int:
        """The position of the last control record, as far as is known; 0 before the first."""
        return self._words[0]

    def show(self, position: int) -> None:
        """Set the counter to the last position in the control table. A deleted file is made anew.

        To be called by whoever holds the writers' lock, after the commit.
        """
        if self._on_disk() != self._inode:
            self.close()
            self._attach()
        if self._words[0] != position:  # Lower too: a file left over from a log that is gone.
            self._words[0] = position

    def close(self) -> None:
        """Let go of the memory; the file stays."""
        self._words.release()
        self._map.close()

    def _attach(self) -> None:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._map, self._inode = _mapped(handle)
            finally:
                os.close(handle)
        except OSError:
            self._map, self._inode = mmap.mmap(-1, _PAGE_BYTES), None
        # A cast view moves the eight bytes at once, so no reader sees half a number.
        self._words = memoryview(self._map).cast("Q")

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _mapped(handle: int) -> tuple[mmap.mmap, tuple[int, int]]:
    found = os.fstat(handle)
    if found.st_size < _PAGE_BYTES:
        # Real bytes, not a hole: a hole on a full disk would be a SIGBUS at the first write.
        os.pwrite(handle, bytes(_PAGE_BYTES - found.st_size), found.st_size)
    return mmap.mmap(handle, _PAGE_BYTES), (found.st_dev, found.st_ino)
