"""Lets a thread that holds what other processes wait for get through a busy interpreter.

What a newcomer would get wrong
    Each step of an SQL statement gives the interpreter away, and a thread that computes gives
    it back after `sys.getswitchinterval()`, 5 ms, or when its call into C is over. Such steps
    under the lock that all writers share held up an order of another process for 0.5 s. So they
    are few (`sqlite_rows`), and each waits 0.2 ms.
    The interval is the whole process's, so it is put back as soon as nobody needs it, and left
    alone where somebody else has set it meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

QUICK_S = 0.0002


class _Haste:
    """How many threads are in haste, and the interval to put back."""

    def __init__(self) -> None:
        self.start_over()
        self.before_s = 0.0

    def start_over(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


_haste = _Haste()


@contextmanager
def in_haste() -> Iterator[None]:
    """While inside, threads of this process take turns every 0.2 ms."""
    with _haste.lock:
        _haste.threads += 1
        if _haste.threads == 1:
            _haste.before_s = sys.getswitchinterval()
            sys.setswitchinterval(min(QUICK_S, _haste.before_s))
    try:
        yield
    finally:
        with _haste.lock:
            _haste.threads -= 1
            ours = abs(sys.getswitchinterval() - QUICK_S) < QUICK_S / 10
            if _haste.threads == 0 and ours:
                sys.setswitchinterval(_haste.before_s)


def _start_over() -> None:
    """In a forked child: whoever was in haste stayed with the parent."""
    if _haste.threads:
        sys.setswitchinterval(_haste.before_s)
    _haste.start_over()


os.register_at_fork(after_in_child=_start_over)
