"""The judge of a log: elected, judging, deposed and elected again, until nobody needs it.

What a newcomer would get wrong
    Being elected is a row in the log (PROTOCOLS 12), not being started. Any number of judges
    may run; one judges, the others stand by for a while and end.
    A judge that was frozen finds its epoch gone with its next commit. It forgets everything
    before it does anything else, and is a candidate like any other.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from ledger.core.lifecycle import FOLD_VERSION
from ledger.judge.checkpoint import Marker
from ledger.judge.chores import Trimming
from ledger.judge.process import gone, this_process
from ledger.judge.restore import marker_of
from ledger.judge.start import started
from ledger.judge.term import Deposed, Term
from ledger.log.bell import Bell
from ledger.log.sqlite import SqliteLog
from ledger.settings import MuteLimits, mute_limits

STALE_MS = 600
"""A judge whose heartbeat is older has lost its term; it beats every 150 ms."""
CANDIDATE_S = 0.03
"""How often a candidate looks at the heartbeat."""
FINISH_S = 2.0
"""How long a judge told to end goes on with what is recorded already; the next one has the rest."""
SAY_AGAIN_S = 10.0
"""The same trouble is said once in this time."""
SAID_MAX = 100


class Judge:
    """Judges `log` whenever no other does.

    `trims`: what is archived, by whomever, and no longer needed is deleted from the log.
    Without any registered process alive it ends after `idle_s` of silence (None: never);
    while another judges, after `standby_s` (None: never). `version` is the deciding version.
    Without `mutes` the variables are read, which raises BadVariable.
    Every method raises JudgeTooOld where a higher one has judged, and what the log raises.
    """

    def __init__(
        self,
        log: SqliteLog,
        *,
        trims: bool = False,
        idle_s: float | None = None,
        standby_s: float | None = None,
        say: Callable[[str], object] | None = None,
        version: int = FOLD_VERSION,
        mutes: MuteLimits | None = None,
    ) -> None:
        self.log = log
        self.terms = 0
        self._trims = trims
        self._idle_s, self._standby_s = idle_s, standby_s
        self._say_to = say or _to_stderr
        self._said: dict[str, float] = {}
        self._version = version
        self._mutes = mutes or mute_limits()
        self._stop = threading.Event()
        self._term: Term | None = None
        self._failing: dict[int, str] = {}

    @property
    def epoch(self) -> int:
        """The epoch under which it judges; 0 while it does not."""
        return 0 if self._term is None else self._term.epoch

    def run(self, stop: threading.Event | None = None) -> None:
        """Judge until `stop` is set or `stop()` called, or nobody needs it. Settles at the end."""
        if stop is not None:
            self._stop = stop
        trimming = Trimming(self.log.path, self._kept, self._say) if self._trims else None
        try:
            with self.log.bell("judge") as bell:
                self._run(bell)
            self._finish()
            self.close()
        finally:
            self._forget()  # Where something went wrong there is nothing to settle.
            if trimming is not None:
                trimming.close()

    def _run(self, bell: Bell) -> None:
        served_s = time.monotonic()
        while not self._stop.is_set() and not self._idle():
            if self.elected():
                served_s = time.monotonic()
                if not self.step() and self._term is not None:
                    bell.wait(self._term.wait_s())
            elif self._standby_s is not None and time.monotonic() - served_s > self._standby_s:
                return
            else:
                self._stop.wait(CANDIDATE_S)

    def _finish(self) -> None:
        """Judge what was recorded before it was told to end; not what goes on coming."""
        end, until_s = self.log.end(), time.monotonic() + FINISH_S
        while (
            self._term is not None
            and self._term.memory.next_offset < end
            and time.monotonic() < until_s
            and self.step()
        ):
            pass

    def stop(self) -> None:
        """Make `run` return soon; from any thread or signal handler."""
        self._stop.set()
        self.log.ring("judge")

    def elected(self) -> bool:
        """Whether it judges, having tried to."""
        if self._term is not None:
            return True
        row = self.log.judge()
        fresh = row.heartbeat_age_ms is not None and row.heartbeat_age_ms < STALE_MS
        if fresh and not gone(row.holder):
            return False
        if fresh:
            self.log.resign(row.epoch)  # In its name: it has ended.
        epoch = self.log.take_judgeship(this_process(), self._version, STALE_MS)
        if epoch is None:
            return False
        self._term = Term(
            self.log, epoch, say=self._say, stop=self._stop, failing=self._failing,
            mutes=self._mutes,
        )  # fmt: skip
        self.terms += 1
        started(self.log.path)
        return True

    def step(self) -> int:
        """Judge what is there, at most one batch; the events looked at. 0 for who judges not."""
        if not self.elected() or self._term is None:
            return 0
        try:
            return self._term.step()
        except Deposed:
            self._forget()
            return 0

    def close(self) -> None:
        """Settle and give up the judgeship."""
        if self._term is None:
            return
        try:
            self._term.settle()
        except Deposed:
            pass
        finally:
            self._forget()

    def _forget(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            term.close()

    def _idle(self) -> bool:
        term = self._term
        if term is None or self._idle_s is None or term.chores.anyone:
            return False
        return time.monotonic() - term.heard_s > self._idle_s

    def _kept(self) -> Marker:
        term = self._term
        return marker_of(self.log) if term is None else term.chores.kept

    def _say(self, text: str) -> None:
        """Tell a person, but not the same thing all the time."""
        now_s = time.monotonic()
        if now_s - self._said.get(text, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            if len(self._said) > SAID_MAX:
                self._said.clear()
            self._said[text] = now_s
            self._say_to(text)


def _to_stderr(text: str) -> None:
    print(f"ledger judge: {text}", file=sys.stderr, flush=True)
