"""What each event changes in a run: one function an event class, registered by class.

Called by `apply` after the decision is known. Facts are taken as they are: an act that nobody
admitted is counted all the same, because it happened.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from ledger.core import budget, orders
from ledger.core import events as e
from ledger.core.budget import SPENT, Lease
from ledger.core.state import ENDED, KILL, LIVE, MODEL, TOOL, Agent, Call, Run
from ledger.core.verdicts import (
    MICRODOLLARS,
    MODEL_CALLS,
    SPAWNS,
    TOKENS,
    TOOL_CALLS,
    UNITS,
    Grant,
    Verdict,
)

NOTHING = array("q", [0] * len(UNITS))
Change = Callable[[Run, Agent, Any, int], None]


def grant(run: Run, given: Grant) -> None:
    """A lease was granted: set its units aside."""
    agent = run.agents.get(given.agent)
    if agent is None:
        return  # Another version knew an agent that this one refused.
    left, expires_ms = array("q", given.units), run.now_ms + given.ttl_ms
    lease = Lease(given.lease, agent.id, given.holder, left, expires_ms)
    run.leases[given.lease] = lease
    agent.leases += (given.lease,)
    budget.set_aside(agent.chain, given.units)
    agent.children_leased += given.units[SPAWNS]
    run.live_leased += given.units[SPAWNS]
    run.expect(lease)
    run.deadline_ms = min(run.deadline_ms, lease.expires_ms)


def drop_lease(run: Run, lease: Lease) -> None:
    """The lease is over for good: what is left is forfeit, the places come back."""
    agent = run.agents[lease.agent]
    if lease.left != NOTHING:
        lease.tokens_busy = lease.microdollars_busy = 0
        budget.forfeit(lease, agent.chain)
        agent.children_leased -= lease.left[SPAWNS]
        run.live_leased -= lease.left[SPAWNS]
    agent.leases = tuple(other for other in agent.leases if other != lease.id)
    del run.leases[lease.id]


def _use(run: Run, agent: Agent, lease: Lease | None, unit: int) -> None:
    """Count one act, against its lease where there is one."""
    if lease is None or lease.agent != agent.id or lease.left[unit] == 0:
        budget.spend(agent.chain, unit, 1)
        run.unadmitted += 1
        return
    left = lease.left
    left[unit] -= 1
    if not lease.forfeit:
        for held in agent.chain:
            held.used[SPENT + unit] += 1
    if unit == SPAWNS:
        agent.children_leased -= 1
        run.live_leased -= 1
    if left == NOTHING:
        drop_lease(run, lease)


def start_agent(run: Run, event: e.RunStarted | e.AgentStarted, parent: Agent | None) -> Agent:
    """Put an agent into the tree."""
    limits = run.policy.for_agent(event.role)
    agent = Agent(event.agent, parent, event.role, event.source, limits, len(run.memory))
    if isinstance(event, e.AgentStarted) and event.budget is not None:
        agent.contract = budget.of_contract(event.budget)
    orders.inherit(run, agent)
    run.add(agent)
    run.live += 1
    return agent


def _agent_started(run: Run, parent: Agent, event: e.AgentStarted, offset: int) -> None:
    _use(run, parent, run.leases.get(event.lease), SPAWNS)
    agent = start_agent(run, event, parent)
    parent.children_open += 1
    if orders.latch_of(run, agent) & KILL:
        orders.acted_after(run, agent)


def end_agent(run: Run, agent: Agent) -> None:
    """The agent acts no more: its place and its leases are over."""
    if agent.status == ENDED:
        return
    agent.status = ENDED
    run.live -= 1
    if agent.parent is not None:
        agent.parent.children_open -= 1
    for lease_id in agent.leases:
        drop_lease(run, run.leases[lease_id])


def _agent_ended(run: Run, agent: Agent, event: e.AgentEnded, offset: int) -> None:
    end_agent(run, agent)


def end_run(run: Run) -> None:
    """The run is over: no lease holds any more."""
    run.status = ENDED
    run.ended_ms = run.now_ms
    for lease in tuple(run.leases.values()):
        drop_lease(run, lease)
    run.deadline_ms = min(run.deadline_ms, run.now_ms + run.policy.memory.linger_ms)


def _run_ended(run: Run, agent: Agent, event: e.RunEnded, offset: int) -> None:
    if run.status == LIVE:
        end_run(run)


def _tool_call_started(run: Run, agent: Agent, event: e.ToolCallStarted, offset: int) -> None:
    said = event.__dict__
    held = said["lease"]
    lease = run.leases.get(held)
    if lease is not None:
        held = lease.id  # One string for all calls: 50 bytes each.
    run.calls[said["call"]] = Call(agent.id, TOOL, said["tool"], said["args_fp"], held)
    _use(run, agent, lease, TOOL_CALLS)
    if (agent.latch | run.latch) & KILL:
        orders.acted_after(run, agent)


def _tool_call_ended(run: Run, agent: Agent, event: e.ToolCallEnded, offset: int) -> None:
    del run.calls[event.call]


def _model_call_started(run: Run, agent: Agent, event: e.ModelCallStarted, offset: int) -> None:
    said = event.__dict__
    tokens, microdollars = said["tokens_estimate"], said["microdollars_estimate"]
    held = said["lease"]
    lease = run.leases.get(held)
    if lease is not None:
        held = lease.id
        if lease.agent == agent.id:
            lease.tokens_busy += tokens
            lease.microdollars_busy += microdollars
    run.calls[said["call"]] = Call(
        agent.id, MODEL, said["model"], said["prompt_fp"], held, tokens, microdollars
    )
    _use(run, agent, lease, MODEL_CALLS)
    if (agent.latch | run.latch) & KILL:
        orders.acted_after(run, agent)


def _model_call_ended(run: Run, agent: Agent, event: e.ModelCallEnded, offset: int) -> None:
    said = event.__dict__
    call = run.calls.pop(said["call"])
    tokens = (
        said["input_tokens"]
        + said["output_tokens"]
        + said["cache_read_tokens"]
        + said["cache_write_tokens"]
    )
    microdollars = said["cost_microdollars"]
    lease = run.leases.get(call.lease)
    if lease is None or lease.agent != agent.id:
        budget.spend(agent.chain, TOKENS, tokens)
        budget.spend(agent.chain, MICRODOLLARS, microdollars)
    else:
        lease.tokens_busy -= call.tokens
        lease.microdollars_busy -= call.microdollars
        budget.use(lease, agent.chain, TOKENS, tokens)
        budget.use(lease, agent.chain, MICRODOLLARS, microdollars)
        if lease.forfeit:
            budget.release_idle(lease, agent.chain)
        if lease.left == NOTHING:
            drop_lease(run, lease)
    if (agent.latch | run.latch) & KILL:
        orders.acted_after(run, agent, microdollars)


def _handoff_offered(run: Run, agent: Agent, event: e.HandoffOffered, offset: int) -> None:
    run.handoffs[event.handoff] = [agent.id, event.to]


def _handoff_closed(
    run: Run, agent: Agent, event: e.HandoffReturned | e.HandoffRefused, offset: int
) -> None:
    del run.handoffs[event.handoff]


def _lease_returned(run: Run, agent: Agent, event: e.LeaseReturned, offset: int) -> None:
    lease = run.leases.get(event.lease)
    if lease is None:
        return  # It was settled when its agent or the run ended.
    back = budget.give_back(lease, agent.chain, budget.amounts(event.left))
    agent.children_leased -= back[SPAWNS]
    run.live_leased -= back[SPAWNS]
    if event.closed or not any(lease.left):
        drop_lease(run, lease)


def _holder_lost(run: Run, agent: Agent, event: e.HolderLost, offset: int) -> None:
    """Its leases are over, and its agents, but for those that act in another process too."""
    over = {lease.id: lease for lease in run.leases.values() if lease.holder == event.holder}
    for lease in over.values():
        drop_lease(run, lease)
    gone = set()
    for lost in run.agents.values():
        if lost.source == event.holder and lost.status == LIVE:
            if lost.leases:
                lost.source = run.leases[lost.leases[0]].holder
            else:
                end_agent(run, lost)
                gone.add(lost.id)
    for call_id in [c for c, o in run.calls.items() if o.agent in gone or o.lease in over]:
        del run.calls[call_id]
    for order in run.orders.values():
        order.waiting.pop(event.holder, None)


def _order_given(run: Run, agent: Agent, event: e.OrderGiven, offset: int) -> None:
    orders.give(
        run,
        event.order,
        event.action,
        event.scope,
        event.agent,
        offset,
        run.policy.memory.orders_max,
    )
    _look_at(run)


def _order_receipted(run: Run, agent: Agent, event: e.OrderReceipted, offset: int) -> None:
    order = run.orders.get(event.order)
    if order is not None:
        order.waiting.pop(event.source, None)


def apply_orders(run: Run, verdict: Verdict) -> None:
    """Orders that rules gave, and orders that are quiet now."""
    for order in verdict.orders:
        orders.give(
            run,
            order.order,
            order.action,
            order.scope,
            order.agent,
            verdict.offset,
            run.policy.memory.orders_max,
        )
        _look_at(run)
    for order_id in verdict.quiet:
        for agent in orders.settle(run, order_id):
            end_agent(run, agent)


def _look_at(run: Run) -> None:
    until = orders.waits_until_ms(run)
    if until:
        run.deadline_ms = min(run.deadline_ms, until)


CHANGES: dict[type[e.Event], Change] = {
    e.AgentStarted: _agent_started,
    e.AgentEnded: _agent_ended,
    e.RunEnded: _run_ended,
    e.ToolCallStarted: _tool_call_started,
    e.ToolCallEnded: _tool_call_ended,
    e.ModelCallStarted: _model_call_started,
    e.ModelCallEnded: _model_call_ended,
    e.HandoffOffered: _handoff_offered,
    e.HandoffReturned: _handoff_closed,
    e.HandoffRefused: _handoff_closed,
    e.LeaseReturned: _lease_returned,
    e.HolderLost: _holder_lost,
    e.OrderGiven: _order_given,
    e.OrderReceipted: _order_receipted,
}
"""Events that are not here change nothing but the run's clock and numbering."""
