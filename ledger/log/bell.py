"""Wakes processes that wait for the log: one datagram, 0.1 ms, and no work while nobody rings.

What a newcomer would get wrong
    A ring says "look", not what to see: read the log after `wait`, whatever it returned, and
    wait with a bound. A bell that cannot be had (a folder without sockets) polls instead.
    Each waiter owns a socket in the folder `<log>-bells`; its name says who waits. The folder
    is the list of waiters. What a killed process left there is removed by the next ring.
    One bell has one waiter: two threads that share it take each other's rings.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import select
import socket
import time
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ledger.closing import Closing

POLL_MS = 5
"""How often a bell without a socket looks at the log (0.9 % of a core, measured)."""
_ADDRESS_BYTES_MAX = 100
_DEAD = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTSOCK)


class Bell(Closing):
    """What one waiter waits on.

    `folder` holds the sockets; `kind` and `source` name who waits (see `ring`); `changed`
    returns a number that differs once the log has changed, for where sockets cannot be made.
    """

    def __init__(
        self, folder: str | Path, kind: str, source: str = "", *, changed: Callable[[], int]
    ) -> None:
        self.folder, self.kind, self.source = str(folder), kind, source
        self._changed = changed
        self._seen = changed()
        self._socket: socket.socket | None = None
        self._name = ""
        self._bind()
        _bells.add(self)

    @property
    def polls(self) -> bool:
        """True where no socket could be made, so that `wait` looks at the log instead."""
        return self._socket is None

    def fileno(self) -> int:
        """The descriptor to select on; readable when rung. -1 where there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s`. True when rung, also when that was before."""
        if self._socket is None:
            return self._poll(timeout_s)
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if not poller.poll(max(0.0, timeout_s) * 1000):
            return False
        self.hush()
        return True

    def hush(self) -> None:
        """Take the rings that are waiting, so that `fileno` is quiet until the next."""
        if self._socket is None:
            return
        try:
            while self._socket.recv(16):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Wait no more: nobody rings here again."""
        _bells.discard(self)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            _remove(os.path.join(self.folder, self._name))

    def _bind(self) -> None:
        # Random, because a process number is used again, and twice where containers share a log.
        self._name = f"{self.kind}.{_mark(self.source)}.{os.getpid()}.{os.urandom(4).hex()}"
        waiter = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        waiter.setblocking(False)
        try:
            os.makedirs(self.folder, exist_ok=True)
            _at(self.folder, self._name, waiter.bind)
        except OSError:
            waiter.close()
            return
        self._socket = waiter

    def _poll(self, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while True:
            now = self._changed()
            if now != self._seen:
                self._seen = now
                return True
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(left_s, POLL_MS / 1000))

    def _after_fork(self) -> None:
        """The parent's socket stays the parent's; the child waits on one of its own."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._bind()


def ring(folder: str | Path, kind: str = "", source: str | None = None) -> int:
    """Wake who waits in `folder`: all, those of one `kind`, or one `source` of that kind.

    Never blocks. Returns how many were rung; the dead are removed from the folder.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    prefix = f"{kind}." if kind else ""
    if source is not None:
        prefix += f"{_mark(source)}."
    wanted = [name for name in names if name.startswith(prefix)]
    return sum(_ring_one(str(folder), name) for name in wanted)


def _ring_one(folder: str, name: str) -> bool:
    try:
        _at(folder, name, lambda address: _sender().sendto(b".", socket.MSG_DONTWAIT, address))
    except BlockingIOError:
        return True  # Its queue is full of rings: it will wake.
    except OSError as problem:
        if problem.errno in _DEAD:
            _remove(os.path.join(folder, name))
        return False
    return True


def _at(folder: str, name: str, act: Callable[[str], object]) -> None:
    """Call `act` with the address of `name`; a long folder is reached through a descriptor."""
    address = os.path.join(folder, name)
    if len(os.fsencode(address)) <= _ADDRESS_BYTES_MAX:
        act(address)
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        act(f"/proc/self/fd/{handle}/{name}")
    finally:
        os.close(handle)


@cache
def _sender() -> socket.socket:
    """One unbound socket sends every ring of this process; a fork may share it."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    atexit.register(sender.close)  # What rings later than that wakes nobody.
    return sender


def _mark(source: str) -> str:
    """A source as part of a file name: any text, one short length."""
    return hashlib.blake2s(source.encode(errors="replace"), digest_size=6).hexdigest()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # Somebody else was quicker.


def _after_fork_in_child() -> None:
    for bell in list(_bells):
        bell._after_fork()


_bells: weakref.WeakSet[Bell] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork_in_child)
