"""Duplicated work: an agent does what another agent of the run has done or is doing.

What it sees
    The same tool call, model call or task by different agents: exact by fingerprint, and for
    tasks also near (fingerprints that differ in at most `near_bits` bits). It names who did
    it first and where.
Why it matters
    Five agents with one search pay five times and know no more; 30 to 40 % of a runtime was
    spent re-verifying.
What it ignores
    An agent that repeats itself (`repeated_step`). Unknown fingerprints (0). What was last
    seen more than `calls_remembered` different calls ago.
"""

from __future__ import annotations

from typing import Any

from ledger.core.detectors.signal import Signal
from ledger.core.events import (
    AgentStarted,
    ModelCallStarted,
    SpawnRequested,
    ToolCallRequested,
    ToolCallStarted,
)
from ledger.core.policy import DuplicatedWork
from ledger.core.state import Agent, Run
from ledger.core.verdicts import Denial

NAME = "duplicated_work"
READS = (ToolCallRequested, ToolCallStarted, ModelCallStarted, SpawnRequested, AgentStarted)

Work = ToolCallRequested | ToolCallStarted | ModelCallStarted | SpawnRequested | AgentStarted
Entry = list[Any]
FIRST, LAST, AGENTS, OFFSET, NEAR = range(5)
# The memory of a run maps a fingerprint to [who did it first, who last, how many agents,
# the first's offset, the near fingerprint], oldest first.


def _work(event: Work) -> tuple[int, int, str]:
    """(exact fingerprint, near fingerprint, what it is)."""
    if isinstance(event, (ToolCallStarted, ToolCallRequested)):
        return event.args_fp, 0, event.tool
    if isinstance(event, ModelCallStarted):
        return event.prompt_fp, 0, event.model
    return event.task_fp, event.task_near, "task"


def _seen(memory: dict[int, Entry], exact: int, near: int, bits: int) -> Entry | None:
    found = memory.get(exact)
    if found is not None or near == 0:
        return found
    for entry in memory.values():
        if entry[NEAR] and (entry[NEAR] ^ near).bit_count() <= bits:
            return entry
    return None


def _doer(event: Work) -> str:
    return event.child if isinstance(event, SpawnRequested) else event.agent


def decide(run: Run, agent: Agent, event: Work, slot: int, rule: DuplicatedWork) -> Signal | None:
    """Say that another agent of the run did the same."""
    memory = run.memory[slot]
    exact, near, what = _work(event)
    if memory is None or exact == 0:
        return None
    found = _seen(memory, exact, near, rule.near_bits)
    if found is None:
        return None
    doer, first = _doer(event), found[FIRST]
    if doer in (first, found[LAST]):
        return None
    agents = found[AGENTS] + 1
    reason = f"{doer} does what {first} did at offset {found[OFFSET]}: {what}."
    return Signal(
        key=f"{exact:x}",
        subject=doer,
        severity="warning" if agents >= rule.warn_agents else "info",
        level=(agents - 1).bit_length(),
        reason=reason,
        facts={"first": first, "what": what, "agents": agents},
        evidence=(found[OFFSET],),
        denial=Denial(
            reason,
            limit="findings.duplicated_work",
            instead=f"Use the result of {first}.",
            see=f"{run.id}@{found[OFFSET]}",
        ),
    )


def remember(run: Run, agent: Agent, event: Work, slot: int, offset: int) -> None:
    """Note who did what; requests are not acts."""
    if isinstance(event, (ToolCallRequested, SpawnRequested)):
        return
    exact, near, _ = _work(event)
    if exact == 0:
        return
    memory: dict[int, Entry] | None = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = {}
    rule: DuplicatedWork = run.rules[slot]  # type: ignore[assignment]
    found, doer = _seen(memory, exact, near, rule.near_bits), _doer(event)
    if found is None:
        memory[exact] = [doer, doer, 1, offset, near]
        if len(memory) > rule.calls_remembered:
            del memory[next(iter(memory))]
    elif doer not in (found[FIRST], found[LAST]):
        found[LAST] = doer
        found[AGENTS] += 1
