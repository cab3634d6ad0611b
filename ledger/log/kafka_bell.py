"""Wakes threads of this process that wait for news of a log on Kafka.

What a newcomer would get wrong
    A ring says "look", not what to see; one ring may stand for many. One bell has one waiter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ledger.closing import Closing


class LocalBell(Closing):
    """What one thread waits on; `gone` is called when it waits no more."""

    def __init__(self, gone: Callable[[], object]) -> None:
        self._gone = gone
        self._rung = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s`. True when rung, also when that was before."""
        rung = self._rung.wait(max(0.0, timeout_s))
        self._rung.clear()
        return rung

    def ring(self) -> None:
        """Wake the waiter. Never blocks."""
        self._rung.set()

    def close(self) -> None:
        """Wait no more."""
        self._gone()
