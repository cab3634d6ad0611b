"""Deciding before an agent acts: what a request or a lease may have, and why not.

Pure reading. What a decision moves is moved by `changes.py` when it is applied, so that a
decision that was once published is never made anew.
"""

from __future__ import annotations

from ledger.core import budget
from ledger.core.detectors import runaway_fan_out
from ledger.core.events import (
    LeaseRequested,
    ModelCallRequested,
    SpawnRequested,
    ToolCallRequested,
)
from ledger.core.orders import latch_of
from ledger.core.state import DRAIN, ENDED, KILL, PAUSE, Agent, Run
from ledger.core.verdicts import (
    MICRODOLLARS,
    MODEL_CALLS,
    SPAWNS,
    TOKENS,
    UNITS,
    Denial,
    Grant,
)

Request = LeaseRequested | SpawnRequested | ToolCallRequested | ModelCallRequested
RECALL_RETRY_MS = 100
RECALLS_MAX = 16
_LIMITS = ("children_max", "tool_calls_max", "model_calls_max", "tokens_max", "microdollars_max")


def barred(run: Run, agent: Agent, request: Request) -> Denial | None:
    """Why this agent may ask for nothing: killed, ended, paused, or no new spawns."""
    latch = latch_of(run, agent)
    if latch & KILL:
        return Denial(f"{agent.id} was killed.", limit="order.kill", instead="Stop.")
    if run.status == ENDED:
        return Denial(f"run {run.id} has ended.", limit="run", instead="Stop.")
    if agent.status == ENDED:
        return Denial(f"{agent.id} has ended.", limit="agent", instead="Stop.")
    if latch & PAUSE:
        return Denial(
            f"{agent.id} is paused.", limit="order.pause", retry_ms=1_000, instead="Wait."
        )
    if latch & DRAIN and isinstance(request, SpawnRequested):
        return _draining(agent)
    return None


def _draining(agent: Agent) -> Denial:
    return Denial(
        f"{agent.id} is draining: it may finish, and start nobody.",
        limit="order.drain",
        instead="Finish what you have.",
    )


def wanted(run: Run, request: Request) -> list[int]:
    """The units a request asks for."""
    if isinstance(request, LeaseRequested):
        cap = run.policy.lease
        caps = (cap.spawns, cap.tool_calls, cap.model_calls, cap.tokens, cap.microdollars)
        return [min(a, c) for a, c in zip(budget.amounts(request.wants), caps, strict=True)]
    if isinstance(request, SpawnRequested):
        return [1, 0, 0, 0, 0]
    if isinstance(request, ToolCallRequested):
        return [0, 1, 0, 0, 0]
    return [0, 0, 1, request.tokens_estimate, request.microdollars_estimate]


def no_room(run: Run, agent: Agent, unit: int) -> Denial:
    """The denial for a unit of which nothing is left."""
    left, place = budget.narrowest(agent.chain, unit)
    held = agent.chain[place]
    if place == 0:
        limit, whose = f"agent.{_LIMITS[unit]}", agent.id
    elif place == len(agent.chain) - 1:
        limit = "run.agents_max" if unit == SPAWNS else f"run.{_LIMITS[unit]}"
        whose = "the run"
    else:
        limit, whose = f"contract.{UNITS[unit]}", "the contract"
    lent = held.reserved(unit)
    return Denial(
        f"{whose} has used {held.spent(unit)} of {held.granted[unit]} {UNITS[unit]}"
        + (f", {lent} more are lent out." if lent else "."),
        limit=limit,
        left=max(left, 0),
        retry_ms=RECALL_RETRY_MS if lent else 0,
        instead="Finish with what you have, and say what is missing.",
    )


def recalls(run: Run, agent: Agent, wants: list[int]) -> tuple[str, ...]:
    """The leases of others that hold what this request is short of, oldest first."""
    short = [
        unit
        for unit, amount in enumerate(wants)
        if amount and budget.narrowest(agent.chain, unit)[0] < amount
    ]
    holding = [
        lease.id
        for lease in run.leases.values()
        if lease.agent != agent.id and not lease.forfeit and any(lease.left[u] for u in short)
    ]
    return tuple(holding[:RECALLS_MAX])


def _fit(run: Run, agent: Agent, wants: list[int]) -> list[int]:
    """What of a lease can be had: never more than half of what is left, so that others
    are not starved by one holder (the last one can be had whole)."""
    got = [0, 0, 0, 0, 0]
    for unit, amount in enumerate(wants):
        if amount:
            left, _ = budget.narrowest(agent.chain, unit)
            got[unit] = max(0, min(amount, (left + 1) // 2))
    if got[SPAWNS]:
        barred = latch_of(run, agent) & DRAIN or agent.depth + 1 > run.limits.depth_max
        got[SPAWNS] = 0 if barred else min(got[SPAWNS], runaway_fan_out.room(run, agent)[0])
    if got[MODEL_CALLS] and _dry(agent):
        got[MODEL_CALLS] = 0
    return got


def _dry(agent: Agent) -> int:
    """The unit, tokens or money, of which nothing is left for another model call; 0: neither.

    A call that estimates nothing would otherwise be let in for ever.
    """
    return next((u for u in (TOKENS, MICRODOLLARS) if budget.narrowest(agent.chain, u)[0] < 1), 0)


def _spawn_denial(run: Run, agent: Agent) -> Denial | None:
    if latch_of(run, agent) & DRAIN:
        return _draining(agent)
    if agent.depth + 1 > run.limits.depth_max:
        return Denial(
            f"{agent.id} stands {agent.depth} levels below the lead; policy allows "
            f"{run.limits.depth_max}.",
            limit="run.depth_max",
        )
    return runaway_fan_out.room(run, agent)[1]


def too_many_leases(run: Run, agent: Agent) -> Denial | None:
    """At most `lease.per_agent_max` leases are open for one agent."""
    allowed, held = run.policy.lease.per_agent_max, len(agent.leases)
    if held < allowed:
        return None
    return Denial(
        f"{agent.id} holds {held} leases; policy allows {allowed}.",
        limit="lease.per_agent_max",
        left=0,
        retry_ms=RECALL_RETRY_MS,
        instead="Return a lease, or wait until one ends.",
    )


def admit(
    run: Run, agent: Agent, request: Request, offset: int
) -> tuple[Grant | None, Denial | None]:
    """(lease, denial): a lease alone allows, a denial alone denies; both: less than was asked."""
    denial = barred(run, agent, request) or too_many_leases(run, agent)
    if denial is not None:
        return None, denial
    wants = wanted(run, request)
    if isinstance(request, LeaseRequested):
        got = _fit(run, agent, wants)
    else:
        got = wants
        dry = _dry(agent) if wants[MODEL_CALLS] else 0
        if dry:
            return None, no_room(run, agent, dry)
        for unit, amount in enumerate(wants):
            if amount and amount > budget.narrowest(agent.chain, unit)[0]:
                return None, no_room(run, agent, unit)
    short = next((u for u in range(len(wants)) if wants[u] and not got[u]), None)
    if short == MODEL_CALLS:
        denial = no_room(run, agent, _dry(agent) or short)
    elif short is not None:
        denial = (_spawn_denial(run, agent) if short == SPAWNS else None) or no_room(
            run, agent, short
        )
    if not any(got):
        empty = Denial("nothing was asked for.", limit="lease", instead="Name the units.")
        return None, denial or empty
    lease = f"{run.partition}-{offset}"
    return Grant(lease, agent.id, request.source, tuple(got), run.policy.lease.ttl_ms), denial
