"""The thread that hears for a process: verdicts, orders, and leases that lie idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger.errors import LedgerError
from ledger.log.haste import in_haste

if TYPE_CHECKING:
    from ledger.log.needed import ClientBell, ClientLog

WAIT_S = 0.1
"""How long it sleeps while somebody waits for an answer: a lost ring costs no more."""
REST_S = 0.5
"""How long it sleeps otherwise."""
CHORES_S = 0.5


class Listener:
    """Calls `hear` when the log may have news, and `chores` twice a second."""

    def __init__(
        self,
        log: ClientLog,
        *,
        hear: Callable[[], object],
        chores: Callable[[], object],
        waiting: Callable[[], bool],
    ) -> None:
        self._log, self._hear, self._chores, self._waiting = log, hear, chores, waiting
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.problem: Exception | None = None

    @property
    def running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def start(self, source: str) -> None:
        """Start listening as `source`, once."""
        if self._thread is not None:
            return
        stop = self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(source, stop), name=f"ledger-listen-{source}", daemon=True
        )
        self._thread.start()

    def forget(self) -> None:
        """In a forked child: the thread stayed with the parent."""
        self._thread = None
        self._stop.set()

    def close(self, timeout_s: float) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._log.ring("client", self._source)
            self._thread.join(timeout_s)

    def _run(self, source: str, stop: threading.Event) -> None:
        self._source = source
        while not stop.is_set():
            try:
                with self._log.bell("client", source) as bell:
                    self._listen(bell, stop)
            except Exception as problem:  # Whatever it is: who does not hear is not killed.
                self.problem = problem
                stop.wait(REST_S)

    def _listen(self, bell: ClientBell, stop: threading.Event) -> None:
        due_s = time.monotonic() + CHORES_S
        while not stop.is_set():
            bell.wait(WAIT_S if self._waiting() else REST_S)
            if stop.is_set():
                return
            try:
                with in_haste():
                    self._hear()
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + CHORES_S
                    self._chores()
                self.problem = None
            except LedgerError as problem:
                self.problem = problem
                stop.wait(WAIT_S)
