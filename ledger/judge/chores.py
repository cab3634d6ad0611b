"""What a judge does beside judging, in threads of their own, so that no verdict waits for it.

What a newcomer would get wrong
    The heartbeat says that the judging thread is alive, not that this one is: it stops when
    there was no `pulse` for a while.
    Each thread has the file open for itself: one that empties the write-ahead log or trims
    would otherwise hold up the reader of events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.judge.checkpoint import Marker
from ledger.log import LogError, LogFull, LogLocked
from ledger.log.sqlite import SqliteLog

PULSE_S = 2.0
"""The judging thread shows itself far more often, unless it hangs."""
LOOK_S = 1.0
"""How often processes are looked for that have ended."""
TRIM_S = 5.0


class Chores:
    """Heartbeats of `epoch`, the write-ahead log, and who has ended; until `close`.

    `deposed` is set once another judges. `lost` are sources whose process has ended, and the
    end of the log when that was seen. `anyone` is False once no registered process is alive.
    `problem` is what no trying again can help, such as a log that was removed: reading does not
    notice that.
    """

    EVERY_S = 0.15

    def __init__(self, path: str, epoch: int) -> None:
        self.deposed = threading.Event()
        self.lost: tuple[list[str], int] = ([], 0)
        self.anyone = True
        self.problem: LogError | None = None
        self.kept = Marker()
        self._epoch = epoch
        self._log = SqliteLog(path, create=False)
        self._pulse_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-judge-chores", daemon=True)
        self._thread.start()

    def pulse(self) -> None:
        """The judging thread is alive."""
        self._pulse_s = time.monotonic()

    def forget(self, sources: list[str]) -> None:
        """These are dealt with."""
        self.lost = ([], 0)
        self._log.forget_holders(sources)

    def close(self) -> None:
        """End the thread, and wait for that."""
        self._stop.set()
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        looked_s = 0.0
        while not self._stop.is_set():
            try:
                self._beat()
                if time.monotonic() - looked_s >= LOOK_S:
                    looked_s = time.monotonic()
                    self._look()
            except (LogFull, LogLocked):
                pass  # It may pass, and the judging thread says so.
            except LogError as problem:
                self.problem = problem
                self._log.ring("judge")
            self._stop.wait(self.EVERY_S)

    def _beat(self) -> None:
        if time.monotonic() - self._pulse_s < PULSE_S and not self._log.heartbeat(self._epoch):
            self.deposed.set()
            self._log.ring("judge")
        self._log.tidy()

    def _look(self) -> None:
        lost = self._log.lost_holders()
        self.anyone = len(self._log.holders()) > len(lost)
        if lost and not self.lost[0]:
            self.lost = (lost, self._log.end())
            self._log.ring("judge")


class Trimming:
    """Deletes what is archived, every few seconds. `kept` says what checkpoints still need."""

    def __init__(self, path: str, kept: Callable[[], Marker], say: Callable[[str], object]) -> None:
        self._log = SqliteLog(path, create=False)
        self._kept, self._say = kept, say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-trimming", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for the step it is in."""
        self._stop.set()
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        while not self._stop.wait(TRIM_S):
            try:
                self._trim()
            except LedgerError as problem:
                self._say(f"trimming again in {TRIM_S:g} s: {problem}")

    def _trim(self) -> None:
        """Delete what is archived and what no checkpoint needs."""
        kept = self._kept()
        offset, pos, refused = (
            self._archived(name) for name in ("offset", "verdict_pos", "refused_pos")
        )
        self._log.trim(min(offset, kept.offset), min(pos, kept.pos + 1), refused)

    def _archived(self, name: str) -> int:
        found = self._log.meta(f"archived_{name}")
        return found if isinstance(found, int) else 0
