"""Delegation too deep: a task handed down more levels than the policy allows.

What it sees
    A spawn whose child would stand more than `run.depth_max` levels below the lead, by the
    ledger's own tree: frameworks number nested agents afresh.
Why it matters
    Every level re-reads the context and hands on less of the task; 50 levels were seen.
What it ignores
    Width, and depth that the policy allows.
"""

from __future__ import annotations

from ledger.core.detectors.signal import Signal
from ledger.core.events import AgentStarted, SpawnRequested
from ledger.core.policy import Rule
from ledger.core.state import Agent, Run
from ledger.core.verdicts import Denial

NAME = "delegation_too_deep"


def _decide(
    run: Run, agent: Agent, event: SpawnRequested | AgentStarted, slot: int, rule: Rule
) -> Signal | None:
    """Refuse the spawn that goes below `run.depth_max`; say where one started all the same."""
    depth_max = run.limits.depth_max
    child = event.child if isinstance(event, SpawnRequested) else event.agent
    depth = agent.depth + 1
    if depth <= depth_max:
        return None
    attempts = (agent.memory[slot] or 0) + 1
    reason = f"{child} would stand {depth} levels below the lead; policy allows {depth_max}."
    return Signal(
        key=agent.id,
        subject=agent.id,
        severity="warning",
        level=attempts.bit_length(),
        reason=reason,
        facts={"child": child, "depth": depth, "attempts": attempts},
        denial=Denial(
            reason,
            limit="run.depth_max",
            instead="Do the work yourself, or return it to the agent that gave it to you.",
        ),
    )


def _remember(
    run: Run, agent: Agent, event: SpawnRequested | AgentStarted, slot: int, offset: int
) -> None:
    """Count the attempts of each agent."""
    if agent.depth + 1 > run.limits.depth_max:
        agent.memory[slot] = (agent.memory[slot] or 0) + 1


DECIDES = {SpawnRequested: _decide, AgentStarted: _decide}
REMEMBERS = {SpawnRequested: _remember, AgentStarted: _remember}
