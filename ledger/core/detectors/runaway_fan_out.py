"""Runaway fan-out: agents are started faster than they finish, or more than the run may have.

What it sees
    More than `agent.open_children_max` children of one agent open at once, more than
    `run.agents_live_max` agents alive, more than `agent.children_max` or `run.agents_max` ever.
    Places promised to a lease count as taken.
Why it matters
    Each child costs a context window and may spawn its own; the bill grows with the tree,
    not with the task. A fleet that goes on asking after `run.spawns_refused_max` refusals
    is not listening: that is critical.
What it ignores
    A wide batch that drains: finished children do not count as open. An agent that waits as
    long as its refusal said before it asks again: of these, three refusals count.
"""

from __future__ import annotations

from ledger.core.budget import narrowest
from ledger.core.detectors.signal import Signal
from ledger.core.events import AgentEnded, AgentStarted, SpawnRequested
from ledger.core.policy import Rule
from ledger.core.state import ENDED, Agent, Run
from ledger.core.verdicts import SPAWNS, Denial, Severity

NAME = "runaway_fan_out"
PATIENT_MAX = 3

REFUSED, PATIENT, LAST_MS = range(3)
# The memory of an agent is [how often it was refused, how often after it had waited as told,
# when last]; that of a run how many refusals count.


def room(run: Run, agent: Agent) -> tuple[int, Denial | None]:
    """How many more children the agent may start now; where none, the denial that says why."""
    limits = agent.limits
    open_left = limits.open_children_max - agent.children_open - agent.children_leased
    live_left = run.limits.agents_live_max - run.live - run.live_leased
    ever_left, place = narrowest(agent.chain, SPAWNS)
    left = min(open_left, live_left, ever_left)
    if left > 0:
        return left, None
    if open_left <= 0:
        taken = agent.children_open + agent.children_leased
        return 0, Denial(
            f"{agent.id} has {taken} children open; policy allows {limits.open_children_max}.",
            limit="agent.open_children_max",
            retry_ms=1_000,
            instead="Wait for a child to finish, or do the work yourself.",
        )
    if live_left <= 0:
        taken = run.live + run.live_leased
        return 0, Denial(
            f"the run has {taken} agents alive; policy allows {run.limits.agents_live_max}.",
            limit="run.agents_live_max",
            retry_ms=1_000,
            instead="Wait for agents to finish, or do the work yourself.",
        )
    return 0, _spent(run, agent, place)


def _spent(run: Run, agent: Agent, place: int) -> Denial:
    budget = agent.chain[place]
    whose, limit = "the run has", "run.agents_max"
    if place == 0:
        whose, limit = f"{agent.id} has", "agent.children_max"
    elif place < len(agent.chain) - 1:
        whose, limit = "its contract has", "contract.spawns"
    used = budget.spent(SPAWNS) + budget.reserved(SPAWNS)
    return Denial(
        f"{whose} started {used} agents; {limit} allows {budget.granted[SPAWNS]}.",
        limit=limit,
        retry_ms=1_000 if budget.reserved(SPAWNS) else 0,  # Places that are lent out may be back.
        instead="Do the work with the agents there are.",
    )


def _requested(
    run: Run, agent: Agent, event: SpawnRequested, slot: int, rule: Rule
) -> Signal | None:
    """Refuse the spawn there is no room for."""
    denial = room(run, agent)[1]
    return None if denial is None else _refused(run, agent, denial, slot)


def _refused(run: Run, agent: Agent, denial: Denial, slot: int) -> Signal:
    refused = 1 if agent.memory[slot] is None else agent.memory[slot][REFUSED] + 1
    in_run = (run.memory[slot] or 0) + _counts(run, agent, denial, slot)
    severity: Severity = "critical" if in_run >= run.limits.spawns_refused_max else "warning"
    level = refused.bit_length() + (32 if severity == "critical" else 0)
    return Signal(
        key=agent.id,
        subject=agent.id,
        severity=severity,
        level=level,
        reason=denial.reason,
        facts={
            "limit": denial.limit,
            "open": agent.children_open,
            "live": run.live,
            "ever": run.budget.spent(SPAWNS),
            "refused": refused,
            "refused_in_run": in_run,
        },
        denial=denial,
    )


def _waited(run: Run, agent: Agent, denial: Denial, slot: int) -> bool:
    """Did the agent wait since its last refusal as long as it was told?"""
    memory = agent.memory[slot]
    told = memory is not None and denial.retry_ms > 0
    return told and run.now_ms - memory[LAST_MS] >= denial.retry_ms


def _counts(run: Run, agent: Agent, denial: Denial, slot: int) -> bool:
    """Is this refusal a sign that nobody listens? Waiting for a place is none, for long."""
    patient = _waited(run, agent, denial, slot)
    return not patient or agent.memory[slot][PATIENT] < PATIENT_MAX


def _started(run: Run, parent: Agent, event: AgentStarted, slot: int, rule: Rule) -> Signal | None:
    """An agent that nobody admitted has started: the children it makes too many."""
    if event.lease in run.leases:
        return None
    open_over = parent.children_open + 1 - parent.limits.open_children_max
    live_over = run.live + 1 - run.limits.agents_live_max
    over = max(open_over, live_over)
    if over <= 0:
        return None
    what = f"{parent.id} has {parent.children_open + 1} children open"
    allowed = parent.limits.open_children_max
    if live_over > open_over:
        what, allowed = f"the run has {run.live + 1} agents alive", run.limits.agents_live_max
    return Signal(
        key=parent.id,
        subject=parent.id,
        severity="critical" if over >= allowed else "warning",
        level=over.bit_length(),
        reason=f"{what}; policy allows {allowed}.",
        facts={"open": parent.children_open + 1, "live": run.live + 1, "over": over},
    )


def _ended(run: Run, agent: Agent, event: AgentEnded, slot: int, rule: Rule) -> Signal | None:
    """Back at half the limit or below: what was said is over."""
    parent = agent.parent
    if parent is None or agent.status == ENDED:
        return None
    if run.spoken.get(f"{NAME} {parent.id}", 0) == 0:
        return None
    if (parent.children_open - 1) * 2 > parent.limits.open_children_max:
        return None
    return Signal(parent.id, parent.id, "info", 0, f"{parent.id} has drained its children.")


def _remember(run: Run, agent: Agent, event: SpawnRequested, slot: int, offset: int) -> None:
    """Count the refusals; `room` is asked before the event changes the tree."""
    denial = room(run, agent)[1]
    if denial is None:
        return
    patient = _waited(run, agent, denial, slot)
    run.memory[slot] = (run.memory[slot] or 0) + _counts(run, agent, denial, slot)
    memory = agent.memory[slot] or [0, 0, 0]
    agent.memory[slot] = [memory[REFUSED] + 1, memory[PATIENT] + patient, run.now_ms]


DECIDES = {SpawnRequested: _requested, AgentStarted: _started, AgentEnded: _ended}
REMEMBERS = {SpawnRequested: _remember}
