"""Orders: which agents an order latches, who has yet to answer, when all is quiet.

A kill is a latch and covers descendants; ids are latched whether anybody announced them or
not. An order is quiet when every process with live agents in its scope has answered, or its
leases there have run out.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.core.state import DRAIN, KILL, LIVE, PAUSE, Agent, Order, Run

BITS = {"kill": KILL, "drain": DRAIN, "pause": PAUSE, "resume": 0}


def latch_of(run: Run, agent: Agent) -> int:
    """Every bit that holds this agent: its own, its ancestors', the run's."""
    return run.latch | agent.latch


def in_scope(run: Run, scope: str, agent_id: str) -> Iterator[Agent]:
    """The agents that an order of this scope covers now."""
    if scope == "run":
        yield from run.agents.values()
        return
    target = run.agents.get(agent_id)
    if target is None:
        return
    if scope == "agent":
        yield target
        return
    for agent in run.agents.values():
        if _below(agent, target):
            yield agent


def _below(agent: Agent, target: Agent) -> bool:
    at: Agent | None = agent
    while at is not None:
        if at is target:
            return True
        at = at.parent
    return False


def give(
    run: Run, order_id: str, action: str, scope: str, agent_id: str, offset: int, orders_max: int
) -> None:
    """Latch the scope and note who has to answer. At `orders_max` the oldest quiet one goes."""
    order = Order(order_id, action, scope, agent_id, offset, run.now_ms)
    covered = list(in_scope(run, scope, agent_id))
    _latch(run, action, scope, agent_id, covered)
    if action != "resume":
        answer_by_ms = run.now_ms + run.policy.lease.ttl_ms
        for agent in covered:
            if agent.status == LIVE and agent.source:
                order.waiting[agent.source] = answer_by_ms
        ids = {agent.id for agent in covered}
        for lease in run.leases.values():
            if lease.agent in ids and not lease.forfeit:
                until = max(order.waiting.get(lease.holder, 0), lease.expires_ms)
                order.waiting[lease.holder] = until
    else:
        order.quiet = True  # Nobody has to answer.
    run.orders[order_id] = order
    while len(run.orders) > orders_max:
        quiet = next((o.id for o in run.orders.values() if o.quiet), next(iter(run.orders)))
        del run.orders[quiet]


def _latch(run: Run, action: str, scope: str, agent_id: str, covered: list[Agent]) -> None:
    bit = BITS[action]
    keep = KILL if action == "resume" else KILL | DRAIN | PAUSE
    if scope == "run":
        run.latch = run.latch & keep | bit
        if action == "resume":
            for held in run.latched.values():
                held[0] &= KILL
                held[1] &= KILL
    elif agent_id not in run.agents:
        held = run.latched.setdefault(agent_id, [0, 0])
        held[0] = held[0] & keep | bit
        if scope == "subtree":
            held[1] = held[1] & keep | bit
    for agent in covered:
        agent.latch = agent.latch & keep | (0 if scope == "run" else bit)
        if scope != "agent":
            agent.latch_below = agent.latch_below & keep | (0 if scope == "run" else bit)


def inherit(run: Run, agent: Agent) -> None:
    """A new agent takes the latch that was laid on its id, or on its ancestors."""
    held = run.latched.pop(agent.id, (0, 0))
    above = 0 if agent.parent is None else agent.parent.latch_below
    agent.latch |= held[0] | above
    agent.latch_below |= held[1] | above


def due_quiet(run: Run, answered: str = "", order_id: str = "") -> tuple[str, ...]:
    """The orders that are quiet at the run's present time, once `answered` has answered
    `order_id` (empty: all orders, as a process that is lost does)."""
    quiet = []
    for order in run.orders.values():
        if order.quiet or order.action == "resume":
            continue
        gone = answered if order_id in ("", order.id) else ""
        if all(h == gone or until <= run.now_ms for h, until in order.waiting.items()):
            quiet.append(order.id)
    return tuple(quiet)


def settle(run: Run, order_id: str) -> list[Agent]:
    """The order is quiet. Returns the agents that a kill leaves to be ended."""
    order = run.orders.get(order_id)
    if order is None:
        return []
    order.quiet = True
    order.waiting.clear()
    if order.action != "kill":
        return []
    return [a for a in in_scope(run, order.scope, order.agent) if a.status == LIVE]


def _covers(run: Run, order: Order, agent: Agent) -> bool:
    if order.scope == "run":
        return True
    target = run.agents.get(order.agent)
    if target is None:
        return False
    return agent is target if order.scope == "agent" else _below(agent, target)


def acted_after(run: Run, agent: Agent, microdollars: int = 0) -> None:
    """Something was done in a killed scope after the kill: onto the receipt with it."""
    for order in run.orders.values():
        if order.action == "kill" and _covers(run, order, agent):
            order.acted_after += 1
            order.microdollars_after += microdollars


def waits_until_ms(run: Run) -> int:
    """When an order may become quiet by itself, at the earliest; 0: none is open.

    An order that waits for nobody is due at once: a tick says so.
    """
    soonest = 0
    for order in run.orders.values():
        if order.quiet or order.action == "resume":
            continue
        until = max(order.waiting.values(), default=0)
        until = max(until, run.now_ms + 1)
        soonest = min(soonest or until, until)
    return soonest
