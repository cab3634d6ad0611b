"""Whether an event can follow what came before: the reason why not, or an empty string.

An event that cannot is refused, and changes nothing but its source's numbering.
An act after an end or a kill is not refused: it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.core import events as e
from ledger.core.state import ENDED, KILL, MODEL, TOOL, Agent, Run

Check = Callable[[Run, Agent | None, Any], str]

WITHOUT_AGENT = frozenset(
    {
        e.RunStarted, e.RunEnded, e.OutcomeReported, e.ConstraintDeclared, e.AgentStarted,
        e.HolderLost, e.OrderGiven, e.OrderReceipted, e.Ticked, e.PolicyRecorded,
    }
)  # fmt: skip
"""Events that need no announced agent in `agent`."""


def source(run: Run, event: e.Event) -> str:
    """Numbering: a new source starts at 1, and there is a limit to how many there are."""
    if event.seq == 0 or event.source in run.sources:
        return ""
    if event.seq != 1:
        return (
            f"source {event.source!r} is new in run {run.id} and starts at seq {event.seq}, not 1"
        )
    allowed = run.policy.memory.sources_max
    if len(run.sources) >= allowed:
        return f"run {run.id} has {allowed} sources, the most that memory.sources_max allows"
    return ""


def _policy_recorded(run: Run, agent: Agent | None, event: e.PolicyRecorded) -> str:
    return f"policies are recorded under the key 'policy', not in run {run.id}"


def _run_started(run: Run, agent: Agent | None, event: e.RunStarted) -> str:
    return f"run {run.id} has started already"


def _spawn_requested(run: Run, agent: Agent | None, event: e.SpawnRequested) -> str:
    if event.child in run.agents:
        return f"agent {event.child} exists already in run {run.id}"
    return ""


def _agent_started(run: Run, agent: Agent | None, event: e.AgentStarted) -> str:
    if not event.agent:
        return "agent_started names no agent"
    if agent is not None:
        return f"agent {event.agent} has started already; an agent has one parent at most"
    if event.parent not in run.agents:
        return f"parent {event.parent} was never announced in run {run.id}"
    allowed = run.policy.memory.agents_max
    if len(run.agents) >= allowed:
        return f"run {run.id} has {allowed} agents, the most that memory.agents_max allows"
    return ""


def _call_started(
    run: Run, agent: Agent | None, event: e.ToolCallStarted | e.ModelCallStarted
) -> str:
    if event.call in run.calls:
        return f"call {event.call} is open already"
    allowed = run.calls_open_max
    if len(run.calls) >= allowed:
        return f"run {run.id} has {allowed} calls open, the most that memory.calls_open_max allows"
    return ""


def _call_ended(run: Run, agent: Agent | None, event: e.ToolCallEnded | e.ModelCallEnded) -> str:
    said = event.__dict__
    call = run.calls.get(said["call"])
    if call is None:
        return f"call {event.call} is not open"
    kind = TOOL if type(event) is e.ToolCallEnded else MODEL
    if call.kind != kind or call.agent != said["agent"]:
        what = ("tool", "model")[call.kind]
        return f"call {event.call} is a {what} call of {call.agent}"
    return ""


def _handoff_offered(run: Run, agent: Agent | None, event: e.HandoffOffered) -> str:
    if event.handoff in run.handoffs:
        return f"handoff {event.handoff} is open already"
    allowed = run.policy.memory.handoffs_open_max
    if len(run.handoffs) >= allowed:
        return f"run {run.id} has {allowed} handoffs open (memory.handoffs_open_max)"
    return ""


def _handoff_answered(
    run: Run,
    agent: Agent | None,
    event: e.HandoffAccepted | e.HandoffReturned | e.HandoffRefused,
) -> str:
    handoff = run.handoffs.get(event.handoff)
    if handoff is None:
        return f"handoff {event.handoff} is not open"
    if handoff[1] != event.agent:
        return f"handoff {event.handoff} was offered to {handoff[1]}"
    return ""


def _settled(run: Run, agent: Agent | None) -> bool:
    """Whether the leases of this agent ended with it: a return on its way then is no mistake."""
    assert agent is not None
    return ENDED in (run.status, agent.status) or bool((run.latch | agent.latch) & KILL)


def _lease_returned(run: Run, agent: Agent | None, event: e.LeaseReturned) -> str:
    lease = run.leases.get(event.lease)
    if lease is None:
        return "" if _settled(run, agent) else f"lease {event.lease} is not open"
    if lease.agent != event.agent or lease.holder != event.source:
        return f"lease {event.lease} is of {lease.agent}, held by {lease.holder}"
    return ""


def _order_given(run: Run, agent: Agent | None, event: e.OrderGiven) -> str:
    if event.order in run.orders:
        return f"order {event.order} was given already"
    if event.scope != "run" and not event.agent:
        return f"an order of scope {event.scope} names its agent"
    allowed = run.policy.memory.agents_max
    if event.scope != "run" and event.agent not in run.agents and len(run.latched) >= allowed:
        return f"{allowed} ids are latched in run {run.id} (memory.agents_max); kill the whole run"
    return ""


CHECKS: dict[type[e.Event], Check] = {
    e.PolicyRecorded: _policy_recorded,
    e.RunStarted: _run_started,
    e.SpawnRequested: _spawn_requested,
    e.AgentStarted: _agent_started,
    e.ToolCallStarted: _call_started,
    e.ModelCallStarted: _call_started,
    e.ToolCallEnded: _call_ended,
    e.ModelCallEnded: _call_ended,
    e.HandoffOffered: _handoff_offered,
    e.HandoffAccepted: _handoff_answered,
    e.HandoffReturned: _handoff_answered,
    e.HandoffRefused: _handoff_answered,
    e.LeaseReturned: _lease_returned,
    e.OrderGiven: _order_given,
}
