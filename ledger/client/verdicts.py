"""Hears what the judge says of this process's runs: answers, refusals of calls, orders of rules.

What a newcomer would get wrong
    A request is known by its run and its number under our source, and waited for before it is
    sent. Its offset would not do: where brokers were away, the client may send it twice, or be
    answered before it knows that it was sent.
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
REFUSED_MAX = 100


class Asked:
    """A request on its way: `settle` is called once with the verdict, by whoever reads it.

    `settle` says whether that was in time. Called with its number before it is sent, or with 0
    and why it cannot be.
    """

    __slots__ = ("_verdicts", "given_up", "run", "seq", "settle")

    def __init__(self, verdicts: Verdicts, run: str, settle: Callable[[Verdict], bool]) -> None:
        self._verdicts, self.run = verdicts, run
        self.settle = settle
        self.seq = 0
        self.given_up = False

    def __call__(self, seq: int, refused: str) -> None:
        if seq:
            self._verdicts.expect(seq, self)
        else:
            self.settle(Verdict(-1, self.run, refusal=refused))


class Verdicts:
    """What was said, dispatched to who waits for it. `runs` are the runs of this process, whose
    events are numbered under `source`."""

    def __init__(
        self,
        log: ClientLog,
        runs: dict[str, LocalRun],
        source: str,
        *,
        on_answer: Callable[[], object],
        on_order: Callable[[Verdict, RuleOrder], object],
        on_unclaimed: Callable[[Verdict], object],
        on_recall: Callable[[LocalRun, tuple[str, ...]], object],
    ) -> None:
        self._log, self._runs = log, runs
        self._on_answer, self._on_order = on_answer, on_order
        self._on_unclaimed, self._on_recall = on_unclaimed, on_recall
        self.start_over(source)

    def start_over(self, source: str) -> None:
        """Wait for nothing, and hear from here on."""
        self._source = source
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._waiting: dict[tuple[str, int], Asked] = {}
        self._pos = -1
        self.quiet: dict[str, Waiter] = {}
        self.refused: deque[tuple[str, str, str]] = deque(maxlen=REFUSED_MAX)

    def begin(self) -> None:
        """What was said before now is not for us. To be called before the first event is sent."""
        if self._pos < 0:
            self._pos = self._log.verdicts_end()

    def expect(self, seq: int, asked: Asked) -> None:
        """Hand the verdict on this number of its run to `asked`, when it comes."""
        with self._lock:
            asked.seq = seq
            if not asked.given_up:
                self._waiting[asked.run, seq] = asked

    def give_up(self, asked: Asked) -> None:
        """Nobody waits for this any more. A lease that comes all the same goes back."""
        with self._lock:
            asked.given_up = True
            self._waiting.pop((asked.run, asked.seq), None)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting)

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
        if verdict.source == self._source and self._settled(verdict):
            return
        if verdict.lease is not None:
            self._on_unclaimed(verdict)
        elif verdict.refusal:
            self.refused.append((verdict.run, verdict.about, verdict.refusal))
            if verdict.about == "run_started":
                run.refusal = verdict.refusal

    def _settled(self, verdict: Verdict) -> bool:
        """Whether somebody waited for this, and has it now."""
        self._on_answer()
        with self._lock:  # `give_up` takes it too: who gave up before gets nothing, and knows.
            asked = self._waiting.pop((verdict.run, verdict.seq), None)
            return asked is not None and asked.settle(verdict)


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
