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

Call = ToolCallRequested | ToolCallStarted | ModelCallStarted
Task = SpawnRequested | AgentStarted

CALLS, TASKS, AGAIN = range(3)
# The memory of a run is three dicts by fingerprint, oldest first: CALLS (who did it first,
# where), TASKS (the same and the near fingerprint), and AGAIN: all who did it, of what more
# than one did.
AGENTS_NAMED = 64
Found = tuple[str, int] | tuple[str, int, int]


def _fp(event: Call) -> int:
    return event.prompt_fp if isinstance(event, ModelCallStarted) else event.args_fp


def _doer(event: Task) -> str:
    return event.child if isinstance(event, SpawnRequested) else event.agent


def _signal(
    run: Run, doer: str, what: str, fp: int, found: Found, slot: int, rule: DuplicatedWork
) -> Signal | None:
    first, offset = found[0], found[1]
    others: list[str] = run.memory[slot][AGAIN].get(fp, [first])
    if doer in others or len(others) >= AGENTS_NAMED:
        return None
    agents = len(others) + 1
    reason = f"{doer} does what {first} did at offset {offset}: {what}."
    return Signal(
        key=f"{fp:x}",
        subject=doer,
        severity="warning" if agents >= rule.warn_agents else "info",
        level=(agents - 1).bit_length(),
        reason=reason,
        facts={"first": first, "what": what, "agents": agents},
        evidence=(offset,),
        denial=Denial(
            reason,
            limit="findings.duplicated_work",
            instead=f"Use the result of {first}.",
            see=f"{run.id}@{offset}",
        ),
    )


def _call(run: Run, agent: Agent, event: Call, slot: int, rule: DuplicatedWork) -> Signal | None:
    """Say that another agent of the run made the same call."""
    memory = run.memory[slot]
    if memory is None:
        return None
    fp = _fp(event)
    found = memory[CALLS].get(fp)
    if found is None or found[0] == agent.id:
        return None
    what = event.model if isinstance(event, ModelCallStarted) else event.tool
    return _signal(run, agent.id, what, fp, found, slot, rule)


def _remember_call(
    run: Run, agent: Agent, event: ToolCallStarted | ModelCallStarted, slot: int, offset: int
) -> None:
    """Note who made which call."""
    fp = _fp(event)
    if fp == 0:
        return
    memory = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = [{}, {}, {}]
    found = memory[CALLS].get(fp)
    if found is None:
        memory[CALLS][fp] = (agent.id, offset)
        _bound(run, memory, CALLS, slot)
    elif found[0] != agent.id:
        _again(memory, fp, found[0], agent.id)


def _bound(run: Run, memory: list[dict[int, Found]], which: int, slot: int) -> None:
    rule: DuplicatedWork = run.rules[slot]  # type: ignore[assignment]
    if len(memory[which]) > rule.calls_remembered:
        oldest = next(iter(memory[which]))
        del memory[which][oldest]
        memory[AGAIN].pop(oldest, None)


def _again(memory: list[dict[int, list[str]]], fp: int, first: str, doer: str) -> None:
    agents = memory[AGAIN].setdefault(fp, [first])
    if doer not in agents and len(agents) < AGENTS_NAMED:
        agents.append(doer)


def _same_task(
    memory: list[dict[int, Found]], fp: int, near: int, bits: int
) -> tuple[int, Found] | None:
    """The task that this one is equal or near to, with its fingerprint."""
    tasks = memory[TASKS]
    found = tasks.get(fp)
    if found is not None:
        return fp, found
    if near:
        for other, entry in tasks.items():
            if entry[2] and (entry[2] ^ near).bit_count() <= bits:  # type: ignore[misc]
                return other, entry
    return None


def _task(run: Run, agent: Agent, event: Task, slot: int, rule: DuplicatedWork) -> Signal | None:
    """Say that another agent of the run was given the same task, or one that is near."""
    memory = run.memory[slot]
    if memory is None or event.task_fp == 0:
        return None
    same = _same_task(memory, event.task_fp, event.task_near, rule.near_bits)
    if same is None:
        return None
    return _signal(run, _doer(event), "task", same[0], same[1], slot, rule)


def _remember_task(run: Run, agent: Agent, event: AgentStarted, slot: int, offset: int) -> None:
    """Note who was given which task."""
    if event.task_fp == 0:
        return
    memory = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = [{}, {}, {}]
    rule: DuplicatedWork = run.rules[slot]  # type: ignore[assignment]
    same = _same_task(memory, event.task_fp, event.task_near, rule.near_bits)
    if same is None:
        memory[TASKS][event.task_fp] = (event.agent, offset, event.task_near)
        _bound(run, memory, TASKS, slot)
    else:
        _again(memory, same[0], same[1][0], event.agent)


DECIDES = {
    ToolCallRequested: _call,
    ToolCallStarted: _call,
    ModelCallStarted: _call,
    SpawnRequested: _task,
    AgentStarted: _task,
}
REMEMBERS = {
    ToolCallStarted: _remember_call,
    ModelCallStarted: _remember_call,
    AgentStarted: _remember_task,
}
