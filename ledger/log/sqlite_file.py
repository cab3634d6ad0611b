"""One SQLite file that many processes, threads and forks use at once, with errors one can act on.

What a newcomer would get wrong
    Never open or close the file by hand: SQLite's POSIX locks go with any descriptor of it.
    Connections are closed before `os.fork` and opened again after, on both sides, for the
    reason in `sqlite_fork`. A fork that Python did not make cannot be made safe; there the
    child is refused.
    Three locks, taken in this order: the turn (threads of this process), the writers' lock
    (processes), the connection's (held only while SQLite works; a fork waits for it).
    `durable` writes are synced before anybody sees them (synchronous=FULL). The others are for
    what can be had again from the rest: a power cut may take them, in order, from the end.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import apsw

from ledger.log import LogClosed, LogError, LogForeign, LogMissing
from ledger.log.haste import in_haste
from ledger.log.sqlite_errors import explained, from_errno, locked, removed
from ledger.log.sqlite_fork import open_files
from ledger.log.sqlite_lock import WritersLock
from ledger.log.sqlite_schema import APPLICATION_ID, FORMAT, create

T = TypeVar("T")

WAL_PAGES_MAX = 8192
"""Pages of 4 KiB in the write-ahead log at which any writer empties it, if no judge did."""
_FORK_WAIT_S = 2.0


class LogFile:
    """The file at `path`. Raises LogMissing where there is none and `make` is False.

    `wait_s` is how long a write waits for others; `on_fork` is called in a forked child.
    """

    def __init__(
        self, path: str, *, make: bool, wait_s: float, on_fork: Callable[[], object]
    ) -> None:
        self.path, self.wait_s = path, wait_s
        self._on_fork = on_fork
        self.lock = WritersLock(f"{path}-lock")
        self.wal_pages, self.wal_pages_max = 0, WAL_PAGES_MAX
        self._pid = os.getpid()
        self._fresh_locks()
        self._writing: apsw.Connection | None = None
        self._reading: apsw.Connection | None = None
        self._durable: bool | None = None
        self._inode: tuple[int, int] | None = None
        self._closed = False
        self._unsafe = False
        self._make = make
        self._check_path(make)
        open_files.add(self)  # Before it is open: a fork must not copy a half-open connection.
        try:
            with self.turn(), self._exclusive():
                self._writer()
        except BaseException:
            self.close()
            raise

    # --- the three things one does with it ---

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the one thread of this process that writes. Raises LogLocked after `wait_s`."""
        turn = self._turn  # A fork in a signal handler changes the attribute under our feet.
        if not turn.acquire(timeout=self.wait_s):
            raise locked(self.path, "another thread of this process")
        try:
            yield
        finally:
            turn.release()

    def write(
        self,
        work: Callable[[apsw.Connection], T],
        *,
        durable: bool = True,
        then: Callable[[T], object] | None = None,
        alone: bool = False,
    ) -> T:
        """What `work` returns, done in one transaction. Any error leaves the log unchanged.

        `work` and, after the commit, `then` run under the writers' lock: they must be short.
        `alone`: `work` executes one statement that writes, which needs no BEGIN and COMMIT.
        """
        with self.turn():
            return self.transact(work, durable=durable, then=then, alone=alone)

    def transact(
        self,
        work: Callable[[apsw.Connection], T],
        *,
        durable: bool = True,
        then: Callable[[T], object] | None = None,
        alone: bool = False,
    ) -> T:
        """As `write`, for a caller that has the turn already."""
        self._check_same()
        with self._exclusive():
            connection = self._writer()
            try:
                if durable != self._durable:  # Allowed between transactions only.
                    connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                if not alone:
                    connection.execute("BEGIN IMMEDIATE")
                done = work(connection)
                if not alone:
                    connection.execute("COMMIT")
            except BaseException as problem:
                self._undo(connection)
                said = explained(problem, self.path, connection)
                if said is problem:
                    raise
                raise said from problem
            if then is not None:
                then(done)
        if self.wal_pages > self.wal_pages_max:
            with suppress(LogError):  # What was committed is safe; `empty_wal` will say it.
                self._move_wal()
        return done

    def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """What `work` returns, from a connection that blocks no writer and waits for none."""
        with self._reading_lock:
            connection = self._reader()
            try:
                return work(connection)
            except apsw.Error as problem:
                raise explained(problem, self.path, connection) from problem

    def empty_wal(self, pages: int) -> bool:
        """Move the write-ahead log into the file if it holds more than `pages`; True if it did.

        Most of it beside the writers, and only the last bit under their lock: otherwise the
        log never starts over while somebody always writes, or the writers wait for the disk.
        """
        if self.wal_pages <= pages:
            return False
        with self.turn():
            self._move_wal()
        return True

    def close(self) -> None:
        """Let go of the file. Twice is fine; a later use raises LogClosed."""
        if self._pid == os.getpid() and not self._unsafe:
            with self._turn, self._connection_lock, self._reading_lock:
                if not self._closed:
                    self._drop_connections(checkpoint=True)
                    self.lock.close()
                self._closed = True
        self._closed = True
        open_files.discard(self)

    # --- connections ---

    def _writer(self) -> apsw.Connection:
        self._check_use()
        if self._writing is None:
            self._writing = self._open()
            self._writing.set_wal_hook(self._note_wal)
            self._durable = None
        return self._writing

    def _check_same(self) -> None:
        """Before each write, and before its lock: under that each system call counts."""
        if self._writing is not None and _inode(self.path) != self._inode:
            raise removed(self.path)

    def _reader(self) -> apsw.Connection:
        self._check_use()
        if self._reading is None:
            self._reading = self._open()
        return self._reading

    def _open(self) -> apsw.Connection:
        connection: apsw.Connection | None = None
        try:
            connection = apsw.Connection(self.path, flags=self._flags())
            connection.set_busy_timeout(int(self.wait_s * 1000))
            self._identify(connection)
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA fullfsync=1")  # macOS: plain fsync stops at the drive.
        except apsw.Error as problem:
            said = explained(problem, self.path, connection)
            if connection is not None:
                connection.close()
            raise said from problem
        except LogError:
            assert connection is not None
            connection.close()
            raise
        self._inode = _inode(self.path)
        return connection

    def _flags(self) -> int:
        """Only the first connection may make the file: one that was removed stays removed."""
        make = apsw.SQLITE_OPEN_CREATE if self._make and self._inode is None else 0
        return apsw.SQLITE_OPEN_READWRITE | make

    def _identify(self, connection: apsw.Connection) -> None:
        kind = connection.execute("PRAGMA application_id").get
        found = connection.execute("PRAGMA user_version").get
        if kind == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            create(connection)  # A new file, or one whose maker died before it was done.
        elif kind != APPLICATION_ID:
            raise LogForeign(
                self.path, "it is the database of another program", "name another file for the log"
            )
        elif found > FORMAT:
            raise LogForeign(
                self.path,
                f"its format is {found}, and this version reads up to {FORMAT}",
                "upgrade coordination-ledger",
            )

    def _check_path(self, make: bool) -> None:
        """Say what SQLite would not: no file, no folder, not a file."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            if make and os.path.isdir(os.path.dirname(self.path)):
                return
            missing = "there is no log here" if not make else "its folder does not exist"
            remedy = "check the path" if not make else "make the folder first"
            raise LogMissing(self.path, missing, remedy) from None
        except OSError as problem:
            raise from_errno(self.path, problem.errno or 0) from problem
        if not stat.S_ISREG(found.st_mode):
            raise LogForeign(self.path, "it is no file", "name a file for the log")
        if found.st_size == 0 and not make:
            raise LogMissing(self.path, "the file is empty", "check the path")

    def _check_use(self) -> None:
        if self._closed:
            raise LogClosed(self.path, "the log was closed", "open it again")
        if self._unsafe or self._pid != os.getpid():
            raise LogClosed(
                self.path,
                "this process was forked in the middle of its use, and SQLite cannot follow",
                "open the log after the fork, or start processes with 'spawn'",
            )

    def _drop_connections(self, *, checkpoint: bool) -> None:
        for connection in (self._reading, self._writing):
            if connection is not None:
                if not checkpoint:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)
        self._reading = self._writing = None

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return 0

    def _empty_wal(self, connection: apsw.Connection) -> None:
        with suppress(apsw.BusyError, apsw.LockedError):  # Then somebody else is at it.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _move_wal(self) -> None:
        self._check_same()
        self.read(self._empty_wal)
        with self._exclusive():
            connection = self._writer()
            try:
                self._empty_wal(connection)
            except apsw.Error as problem:
                raise explained(problem, self.path, connection) from problem
        self.wal_pages = 0

    # --- locks and errors ---

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """The writers' lock and the connection's. Raises LogLocked, LogUnwritable."""
        self._check_use()
        with in_haste():
            try:
                self._acquire()
                with self._connection_lock:
                    yield
            finally:
                self.lock.release()

    def _acquire(self) -> None:
        try:
            free = self.lock.acquire(self.wait_s)
        except OSError as problem:
            raise from_errno(self.path, problem.errno or 0) from problem
        if not free:
            raise locked(self.path, self.lock.holder())

    def _undo(self, connection: apsw.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error:
                # It never fails with SQLite's own state in doubt; a new connection starts clean.
                self._drop_connections(checkpoint=False)

    # --- forks ---

    def _fresh_locks(self) -> None:
        self._turn = threading.Lock()
        self._connection_lock = threading.Lock()
        self._reading_lock = threading.Lock()

    def pause(self) -> None:
        """Before a fork: wait for SQLite to finish, and close. The turn may stay with a thread."""
        until = time.monotonic() + _FORK_WAIT_S
        self._paused = []
        locks = (self._connection_lock, self._reading_lock)
        for lock in locks:
            if lock.acquire(timeout=max(0.0, until - time.monotonic())):
                self._paused.append(lock)
        self._quiet = len(self._paused) == len(locks)
        if self._quiet and not self._unsafe:
            self._drop_connections(checkpoint=False)

    def resume(self) -> None:
        """After the fork, in the parent."""
        for lock in self._paused:
            lock.release()

    def start_over(self) -> None:
        """After the fork, in the child: its own locks, its own connections when it needs them."""
        if not self._quiet:
            _abandoned.extend((self._writing, self._reading))
            self._unsafe = True
        self._pid = os.getpid()
        self._fresh_locks()
        self.lock.forget()
        self._on_fork()


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_abandoned: list[apsw.Connection | None] = []  # Never closed: closing would touch the parent's.
