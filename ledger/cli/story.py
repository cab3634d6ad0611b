"""One run, told from its events and verdicts: what `ledger show` draws.

The run is folded again with the verdicts that were published, so what is shown is what the
judge knows, to the unit: budgets, latches, who is alive, who has yet to answer an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger import wire
from ledger.cli.asking import rows_of
from ledger.core import events as e
from ledger.core.events import Record
from ledger.core.fold import apply_published
from ledger.core.state import DRAIN, ENDED, KILL, PAUSE, Agent, Run, State
from ledger.core.verdicts import SEVERITIES, UNITS, Finding, Verdict
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.catalog import Catalog

EVENTS = """
select "offset", append_ms, payload from events
where run = $run and refused is null and payload is not null order by "offset"
"""
PARTITION = 'select "partition" from events where run = $run limit 1'
VERDICTS = 'select payload from verdicts where run = $run order by "offset"'
POLICIES = """
select "offset", append_ms, payload from events
where type = 'policy_recorded' and refused is null order by "offset"
"""


class RunNotStarted(LedgerError):
    """Events of `run` are there, but none that starts it; `reason` is what the judge said."""

    def __init__(self, run: str, reason: str) -> None:
        super().__init__(run, reason)
        self.run, self.reason = run, reason

    def __str__(self) -> str:
        why = self.reason or "it was not judged yet; `ledger up` judges"
        return f"run {self.run} never started: {why}"


@dataclass(slots=True)
class OrderTold:
    """An order and what came of it. `by` empty: a rule gave it."""

    id: str
    action: str
    scope: str
    agent: str
    reason: str
    by: str
    at_ms: int
    receipts: dict[str, e.OrderReceipted] = field(default_factory=dict)
    quiet_ms: int = 0


@dataclass(slots=True)
class Told:
    """A run and what its events say beyond the judge's state.

    Calls are counted here: a budget also counts as spent what a lost lease may have spent.
    """

    run: Run
    started: e.RunStarted
    began_ms: int
    ended: e.RunEnded | None = None
    result: e.OutcomeReported | None = None
    events: int = 0
    tasks: dict[str, str] = field(default_factory=dict)
    ends: dict[str, e.AgentEnded] = field(default_factory=dict)
    findings: dict[tuple[str, str], tuple[Verdict, Finding]] = field(default_factory=dict)
    orders: dict[str, OrderTold] = field(default_factory=dict)
    denied: Counter[str] = field(default_factory=Counter)
    tool_calls: Counter[str] = field(default_factory=Counter)
    model_calls: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    live_peak: int = 0
    granted_after_kill: int = 0
    calls_failed: int = 0
    cost_unknown: int = 0

    def worst_first(self) -> list[tuple[Verdict, Finding]]:
        """What was found and is not over, the worst first."""
        open_ones = [pair for pair in self.findings.values() if pair[1].level]
        rank = {severity: index for index, severity in enumerate(SEVERITIES)}
        return sorted(open_ones, key=lambda p: (-rank[p[1].severity], p[0].offset))

    def of(self, agent: str) -> list[Finding]:
        """What was found of this agent, the worst first."""
        return [finding for _, finding in self.worst_first() if finding.subject == agent]

    def calls(self, agent: str) -> int:
        """Tool calls and model calls that the agent made."""
        return self.tool_calls[agent] + self.model_calls[agent]

    def state(self, agent: Agent | None = None) -> str:
        """One word for an agent, or for the run."""
        who = self.run if agent is None else agent
        latch = self.run.latch | (0 if agent is None else agent.latch)
        if who.status == ENDED:
            return self._end(agent, latch)
        for bit, word in ((KILL, "killed"), (PAUSE, "paused"), (DRAIN, "draining")):
            if latch & bit:
                return word
        if agent is not None and self.run.status == ENDED:
            return "ended"
        return "running"

    def _end(self, agent: Agent | None, latch: int) -> str:
        said = self.ended if agent is None else self.ends.get(agent.id)
        if said is not None:
            return str(said.outcome)
        if latch & KILL:
            return "killed"
        return "ended" if agent is None else "lost"


def tell(opened: Catalog, run_id: str) -> Told:
    """The story of a run. Raises RunNotStarted, and what the catalog raises."""
    state = State(next((at for (at,) in rows_of(opened.sql(PARTITION, {"run": run_id}))), 0))
    for record in _records(opened, POLICIES, {}):
        apply_published(state, record, None)
    said = _verdicts(opened, run_id)
    told: Told | None = None
    reason = ""
    for record in _records(opened, EVENTS, {"run": run_id}):
        verdict = said.get(record.offset)
        apply_published(state, record, verdict)
        run = state.runs.get(run_id)
        if told is None:
            if run is None or not isinstance(record.event, e.RunStarted):
                reason = reason or (verdict.refusal if verdict is not None else "")
                continue
            told = Told(run, record.event, run.now_ms)
            told.tasks[record.event.agent] = record.event.task
        _note(told, record, verdict)
    if told is None:
        raise RunNotStarted(run_id, reason)
    return told


def spent(agent: Agent, unit: str) -> int:
    """What an agent used itself."""
    return agent.budget.spent(UNITS.index(unit))


def left(agent: Agent) -> tuple[int, str]:
    """What is left of the agent's scarcest unit, in percent, and which unit that is.

    By its own limits and the contracts above it; what the run has left is said once, above.
    """
    least, which = 100, ""
    for unit, name in enumerate(UNITS):
        for budget in agent.chain[:-1]:
            granted = budget.granted[unit]
            percent = max(0, budget.available(unit)) * 100 // granted if granted else 0
            if percent < least:
                least, which = percent, name
    return least, which


def _records(opened: Catalog, sql: str, asked: dict[str, str]) -> Iterator[Record]:
    for offset, append_ms, payload in rows_of(opened.sql(sql, asked)):
        yield Record(offset, append_ms, wire.decode(payload.encode()))


def _verdicts(opened: Catalog, run_id: str) -> dict[int, Verdict]:
    """Every verdict of the run by its offset; of two the first counts."""
    found: dict[int, Verdict] = {}
    for (payload,) in rows_of(opened.sql(VERDICTS, {"run": run_id})):
        verdict = wire.decode_verdict(payload.encode())
        found.setdefault(verdict.offset, verdict)
    return found


def _note(told: Told, record: Record, verdict: Verdict | None) -> None:
    """Keep what the judge's state does not."""
    event = record.event
    told.events += 1
    told.live_peak = max(told.live_peak, told.run.live)
    if verdict is not None and verdict.refusal:
        told.refusals += 1
        return
    match event:
        case e.AgentStarted():
            told.tasks[event.agent] = event.task
        case e.AgentEnded():
            told.ends[event.agent] = event
        case e.RunEnded():
            told.ended = event
        case e.OutcomeReported():
            told.result = event
        case e.OrderGiven():
            told.orders[event.order] = OrderTold(
                event.order, event.action, event.scope, event.agent, event.reason,
                event.by or "somebody", told.run.now_ms,
            )  # fmt: skip
        case e.OrderReceipted() if event.order in told.orders:
            told.orders[event.order].receipts[event.source] = event
        case e.ToolCallStarted():
            told.tool_calls[event.agent] += 1
        case e.ModelCallStarted():
            told.model_calls[event.agent] += 1
        case e.ToolCallEnded() | e.ModelCallEnded():
            told.calls_failed += bool(event.error)
            told.cost_unknown += isinstance(event, e.ModelCallEnded) and not event.cost_known
    if verdict is not None:
        _note_verdict(told, verdict)


def _note_verdict(told: Told, verdict: Verdict) -> None:
    # The run's latch is as the verdict left it: what a kill itself answers is no grant after it.
    if verdict.lease is not None and told.run.latch & KILL and not verdict.orders:
        told.granted_after_kill += 1
    if verdict.decision == "deny":
        told.denied[verdict.agent] += 1
    for finding in verdict.findings:
        key = (finding.name, str(finding.facts.get("key", finding.subject)))
        told.findings[key] = (verdict, finding)
    for order in verdict.orders:
        told.orders[order.order] = OrderTold(
            order.order, order.action, order.scope, order.agent, order.reason, "", verdict.at_ms
        )
    for order_id in verdict.quiet:
        if order_id in told.orders:
            told.orders[order_id].quiet_ms = verdict.at_ms
