"""Hears what the judge says of this process's runs: answers, refusals of calls, orders of rules.

What a newcomer would get wrong
    A request is known by its run and its offset, which `append` gave. The verdict may be read
    before the appending thread has said which offset that was: while something is being appended,
    such verdicts are kept (`_early`).
    A lease that nobody waits for any more (the wait was given up) is returned at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger import wire
from ledger.client.waiter import Waiter
from ledger.core.verdicts import Finding, RuleOrder, Verdict
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.client.local import LocalRun
    from ledger.log.needed import ClientLog

READ_ROWS = 1_000
EARLY_MAX = 10_000
REFUSED_MAX = 100

Place = tuple[str, int]
"""Of an event: its run, and its offset in the partition that the run lives in."""


class Asked:
    """A request on its way: `settle` is called once with the verdict, by whoever reads it.

    Called with its offset when it is in the log.
    """

    __slots__ = ("_verdicts", "given_up", "offset", "run", "settle")

    def __init__(self, verdicts: Verdicts, run: str, settle: Callable[[Verdict], object]) -> None:
        self._verdicts, self.run = verdicts, run
        self.settle = settle
        self.offset = -1
        self.given_up = False

    def __call__(self, offset: int) -> None:
        self._verdicts.expect(offset, self)


class Verdicts:
    """What was said, dispatched to who waits for it. `runs` are the runs of this process."""

    def __init__(
        self,
        log: ClientLog,
        runs: dict[str, LocalRun],
        *,
        on_order: Callable[[Verdict, RuleOrder], object],
        on_unclaimed: Callable[[Verdict], object],
        on_recall: Callable[[LocalRun, tuple[str, ...]], object],
    ) -> None:
        self._log, self._runs = log, runs
        self._on_order, self._on_unclaimed, self._on_recall = on_order, on_unclaimed, on_recall
        self.start_over()

    def start_over(self) -> None:
        """Wait for nothing, and hear from here on."""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._waiting: dict[Place, Asked] = {}
        self._early: dict[Place, Verdict] = {}
        self._appending = 0
        self._pos = -1
        self.quiet: dict[str, Waiter] = {}
        self.refused: deque[tuple[str, str, str]] = deque(maxlen=REFUSED_MAX)

    def begin(self) -> None:
        """What was said before now is not for us. To be called before the first event is sent."""
        if self._pos < 0:
            self._pos = self._log.verdicts_end()

    def appending(self, change: int) -> None:
        """Requests are on their way into the log (+1), or arrived (-1)."""
        with self._lock:
            self._appending += change
            if self._appending:
                return
            early, self._early = self._early, {}
        for verdict in early.values():
            self._on_unclaimed(verdict)

    def expect(self, offset: int, asked: Asked) -> None:
        """Hand the verdict on `offset` to `asked`, when it comes or if it came."""
        with self._lock:
            asked.offset = offset
            verdict = self._early.pop((asked.run, offset), None)
            if verdict is None:
                if not asked.given_up:
                    self._waiting[asked.run, offset] = asked
                return
        self._answer(asked, verdict)

    def give_up(self, asked: Asked) -> None:
        """Nobody waits for this any more. A lease that comes all the same goes back."""
        with self._lock:
            asked.given_up = True
            self._waiting.pop((asked.run, asked.offset), None)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting or self._appending)

    def read(self) -> None:
        """Take in what is new. Raises what the log raises."""
        if self._pos < 0 or not self._reading.acquire(blocking=False):
            return
        try:
            while True:
                rows = self._log.verdicts(self._pos, READ_ROWS)
                for row in rows:
                    if row.run in self._runs or (self.quiet and row.run):
                        self._hear(wire.decode_verdict(row.value))
                    self._pos = row.pos
                if len(rows) < READ_ROWS:
                    return
        except wire.UnreadableEvent as problem:
            # A verdict of a newer form; stepping over it would lose an answer without a word.
            raise LedgerError(f"a verdict cannot be read: {problem}; upgrade this client") from None
        finally:
            self._reading.release()

    def _hear(self, verdict: Verdict) -> None:
        for order_id in verdict.quiet:
            waiter = self.quiet.get(order_id)
            if waiter is not None:
                waiter.settle(verdict)
        run = self._runs.get(verdict.run)
        if run is None:
            return
        for order in verdict.orders:
            self._on_order(verdict, order)
        for finding in verdict.findings:
            _heed(run, finding)
        if verdict.recalls:
            self._on_recall(run, verdict.recalls)
        with self._lock:
            asked = self._waiting.pop((verdict.run, verdict.offset), None)
            if asked is None and self._appending and len(self._early) < EARLY_MAX:
                self._early[verdict.run, verdict.offset] = verdict
                return
        if asked is not None:
            self._answer(asked, verdict)
        elif verdict.lease is not None:
            self._on_unclaimed(verdict)
        elif verdict.refusal:
            self.refused.append((verdict.run, verdict.about, verdict.refusal))
            if verdict.about == "run_started":
                run.refusal = verdict.refusal

    def _answer(self, asked: Asked, verdict: Verdict) -> None:
        if asked.given_up:
            self._on_unclaimed(verdict)
        else:
            asked.settle(verdict)


def _heed(run: LocalRun, finding: Finding) -> None:
    """Calls that a finding refuses are asked for by name from now on, until it is over."""
    agent = run.agents.get(finding.subject)
    if agent is None or finding.mode != "enforce":
        return
    key = (finding.name, str(finding.facts.get("key", finding.subject)))
    if finding.level == 0:
        agent.denies.pop(key, None)
    elif finding.denies:
        agent.denies[key] = frozenset(finding.denies)
