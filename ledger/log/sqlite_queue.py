"""Threads that append at once share one transaction, and so one wait for the disk.

What a newcomer would get wrong
    There is no thread here: who gets the turn writes for all who queued meanwhile, and they
    find their events written when their turn comes.
    Nobody fails for another's batch: on an error each tries for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ledger.log import BatchTooLarge
from ledger.log.sqlite_file import LogFile
from ledger.log.sqlite_rows import ROWS_AT_ONCE, add_events, add_few_events

BATCH_ROWS_MAX = 50_000
BATCH_BYTES_MAX = 64 * 1024 * 1024
"""One append holds at most this, and a shared transaction not much more."""


class _Batch:
    """One thread's events on their way; `first` is the first's offset, 0 until it is known."""

    __slots__ = ("bytes", "first", "rows")

    def __init__(self, rows: Sequence[tuple[str, bytes]], size: int) -> None:
        self.rows, self.bytes = rows, size
        self.first = 0


class AppendQueue:
    """Appends to `file`, for any number of threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._waiting: deque[_Batch] = deque()

    def append(self, file: LogFile, rows: Sequence[tuple[str, bytes]]) -> int:
        """Put (run, value) pairs into the log, all or none; the first's offset, the rest follow.

        Raises BatchTooLarge, TypeError, and what LogFile.write raises.
        """
        mine = _Batch(rows, checked(self.path, rows))
        self._waiting.append(mine)
        try:
            with file.turn():
                while not mine.first:
                    self._write(file)
        except BaseException:
            if self._withdrawn(file, mine):
                raise
        return mine.first

    def forget(self) -> None:
        """In a forked child: what the parent's threads queued is the parent's."""
        self._waiting.clear()

    def _write(self, file: LogFile) -> None:
        group: list[_Batch] = []
        rows = size = 0
        while self._waiting and rows < BATCH_ROWS_MAX and size < BATCH_BYTES_MAX:
            group.append(self._waiting.popleft())
            rows += len(group[-1].rows)
            size += group[-1].bytes
        assert group
        try:
            values = [row for one in group for row in one.rows]
            few = len(values) <= ROWS_AT_ONCE
            add = add_few_events if few else add_events
            first = file.transact(lambda connection: add(connection, values), alone=few)
        except BaseException:
            # After an interrupt just behind the commit they are in the log twice then, which
            # their sequence numbers silence; the other way round they would be lost.
            self._waiting.extendleft(reversed(group))
            raise
        for one in group:
            one.first = first
            first += len(one.rows)

    def _withdrawn(self, file: LogFile, mine: _Batch) -> bool:
        """Take a batch back; False when another thread has put it into the log after all."""
        try:
            self._waiting.remove(mine)
        except ValueError:
            if mine.first:
                return False
        else:
            return True
        with file.turn():  # Somebody is writing it right now; hear how that ends.
            pass
        return self._withdrawn(file, mine)


def checked(path: str, rows: Sequence[tuple[str, bytes]]) -> int:
    """The size in bytes. Raises, up front, what would otherwise spoil other threads' events."""
    size = 0
    for run, value in rows:
        if type(run) is not str or type(value) is not bytes:
            raise TypeError(f"expected (str, bytes), got ({run!r:.80}, {value!r:.80})")
        size += len(run.encode()) + len(value)
    if len(rows) > BATCH_ROWS_MAX or size > BATCH_BYTES_MAX:
        raise BatchTooLarge(
            path,
            f"{len(rows)} events of {size} bytes are too much for one transaction",
            f"append at most {BATCH_ROWS_MAX} events and {BATCH_BYTES_MAX} bytes at once",
        )
    return size
