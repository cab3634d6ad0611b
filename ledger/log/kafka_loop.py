"""The one thread of a process in which aiokafka runs, on an event loop of its own.

What a newcomer would get wrong
    A forked child has no such thread, and must touch nothing of its parent's: the sockets are
    shared. It gets a new one when it first needs it; what it inherited is kept aside until it
    ends, so that nothing is finalized.
    Where an agent computes, each turn of the loop would wait 5 ms for the interpreter. While the
    loop has work, threads of this process take turns every 0.2 ms (`haste`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from ledger.log.haste import in_haste

T = TypeVar("T")

# aiokafka says in its own log what it tries again; without a handler Python prints it.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop(_HastySelector())
        # What is left unfinished when a process ends is of no interest to its user.
        self.loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._run, name="ledger-kafka", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run the coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run it, and wait for what it returns. TimeoutError after `timeout_s`: it is cancelled."""
        running = self.submit(work)
        try:
            return running.result(timeout_s)
        except BaseException:
            running.cancel()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


class _HastySelector(selectors.DefaultSelector):
    """Waits as always, and is in haste from the moment that something came."""

    def __init__(self) -> None:
        super().__init__()
        self._haste = in_haste()
        self._haste.__enter__()

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        self._haste.__exit__(None, None, None)
        try:
            return super().select(timeout)
        finally:
            self._haste = in_haste()
            self._haste.__enter__()


class _Process:
    """What this process has of it; a fork starts over."""

    def __init__(self) -> None:
        self.inherited: list[object] = []
        self.start_over()

    def start_over(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None


_process = _Process()


def loop_thread() -> LoopThread:
    """This process's."""
    with _process.lock:
        if _process.thread is None:
            _process.thread = LoopThread()
        return _process.thread


def keep_aside(*inherited: object) -> None:
    """In a forked child: do not touch these again, and do not let go of them either."""
    _process.inherited.extend(inherited)


def _after_fork_in_child() -> None:
    keep_aside(_process.thread)
    _process.start_over()


os.register_at_fork(after_in_child=_after_fork_in_child)
