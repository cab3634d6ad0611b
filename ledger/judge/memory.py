"""What a judge holds between two looks at the log: the state, its place, what has changed.

What a newcomer would get wrong
    The memory is a cache of the log: who loses the judgeship drops it whole, and the next one
    restores its own (`restore.py`).
    Besides its runs the state knows who ended, orders for runs yet to come, and policies. They
    are in the checkpoints too; `place` says up to which offset such a note is true.
"""

from __future__ import annotations

from ledger.core.events import PolicyRecorded, Record
from ledger.core.fold import apply_published, fold, next_deadline
from ledger.core.state import LIVE, Run, State
from ledger.core.verdicts import Verdict
from ledger.judge.deadlines import Deadlines


class Memory:
    """The state as of `next_offset`, the deadlines in it, and what the checkpoints lack.

    `changed` holds the runs (and digests of policies in `policies`) to be checkpointed.
    """

    def __init__(self) -> None:
        self.state = State()
        self.next_offset = 1
        self.clock_ms = 0
        self.deadlines = Deadlines()
        self.changed: dict[str, None] = {}
        self.policies: dict[str, None] = {}
        self.place: dict[str, int] = {}
        self._touched: set[str] = set()

    def judge(self, record: Record) -> Verdict | None:
        """Decide and apply the next record; its verdict."""
        verdict = fold(self.state, record)
        run = record.event.__dict__["run"]
        self._touched.add(run)
        if run not in self.state.runs or run in self.place:
            self._note_outside(record)
        return verdict

    def apply(self, record: Record, verdict: Verdict | None) -> None:
        """Apply what was decided of a record, unless the checkpoint has it already."""
        run = record.event.run
        if run not in self.state.runs and record.offset <= self.place.get(run, -1):
            return
        apply_published(self.state, record, verdict)
        self._touched.add(run)
        if run not in self.state.runs or run in self.place:
            self._note_outside(record)

    def advance(self, next_offset: int, clock_ms: int) -> None:
        """The batch is done: the place in the log, its clock, and the new deadlines."""
        self.next_offset = next_offset
        self.clock_ms = max(self.clock_ms, clock_ms)
        for run in self._touched:
            self.deadlines.note(run, next_deadline(self.state, run))
            self.changed[run] = None
        self._touched.clear()

    def due(self, now_ms: int) -> list[str]:
        """The runs that need a tick at `now_ms` of the wall clock."""
        now_ms = max(now_ms, self.clock_ms)
        return self.deadlines.due(now_ms, lambda run: next_deadline(self.state, run))

    def involving(self, sources: frozenset[str]) -> list[tuple[str, str]]:
        """(run, source) wherever one of the sources has live agents, leases, or owes a receipt."""
        found: list[tuple[str, str]] = []
        for run in self.state.runs.values():
            found += [(run.id, source) for source in sorted(_holders(run) & sources)]
        return found

    def give_up(self, run: str) -> None:
        """The run cannot be known any more: it has ended, so that nothing more is granted."""
        self.state.runs.pop(run, None)
        self.state.latched.pop(run, None)
        self.state.ended[run] = self.clock_ms
        self.place[run] = self.next_offset
        self.changed[run] = None

    def _note_outside(self, record: Record) -> None:
        state, event, run = self.state, record.event, record.event.run
        if isinstance(event, PolicyRecorded) and event.digest in state.policies:
            self.policies[event.digest] = None
        if run in state.latched or (run in state.ended and run not in self.place):
            self.place[run] = record.offset
        while len(self.place) > len(state.ended) + len(state.latched):
            # The run has started, or the state forgot its oldest tombstone, at its limit.
            oldest = next(r for r in self.place if r not in state.ended and r not in state.latched)
            del self.place[oldest]
            self.changed[oldest] = None


def _holders(run: Run) -> set[str]:
    holders = {agent.source for agent in run.agents.values() if agent.status == LIVE}
    holders.update(lease.holder for lease in run.leases.values())
    for order in run.orders.values():
        holders.update(order.waiting)
    return holders
