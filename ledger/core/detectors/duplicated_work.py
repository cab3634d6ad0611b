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

Task = SpawnRequested | AgentStarted

CALLS, TASKS, AGAIN = range(3)
# The memory of a run is three dicts by fingerprint, oldest first: CALLS (who did it first,
# where), TASKS (the same and the near fingerprint), and AGAIN: all who did it, of what more
# than one did.
AGENTS_NAMED = 64
Found = tuple[str, int] | tuple[str, int, int]


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


def _tool_call(
    run: Run,
    agent: Agent,
    event: ToolCallRequested | ToolCallStarted,
    slot: int,
    rule: DuplicatedWork,
) -> Signal | None:
    """Say that another agent of the run made the same tool call."""
    memory, fp = run.memory[slot], event.args_fp
    if memory is None or fp not in memory[CALLS] or memory[CALLS][fp][0] == agent.id:
        return None
    return _signal(run, agent.id, event.tool, fp, memory[CALLS][fp], slot, rule)


def _model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, rule: DuplicatedWork
) -> Signal | None:
    """Say that another agent of the run made the same model call."""
    memory, fp = run.memory[slot], event.prompt_fp
    if memory is None or fp not in memory[CALLS] or memory[CALLS][fp][0] == agent.id:
        return None
    return _signal(run, agent.id, event.model, fp, memory[CALLS][fp], slot, rule)


def _remember_tool_call(
    run: Run, agent: Agent, event: ToolCallStarted, slot: int, offset: int
) -> None:
    if event.args_fp:
        _remember(run, agent.id, event.args_fp, slot, offset)


def _remember_model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, offset: int
) -> None:
    if event.prompt_fp:
        _remember(run, agent.id, event.prompt_fp, slot, offset)


def _remember(run: Run, doer: str, fp: int, slot: int, offset: int) -> None:
    """Note who made which call."""
    memory = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = [{}, {}, {}]
    calls = memory[CALLS]
    if fp not in calls:
        calls[fp] = (doer, offset)
        if len(calls) > run.rules[slot].calls_remembered:  # type: ignore[attr-defined]
            _forget_oldest(memory, CALLS)
    elif calls[fp][0] != doer:
        _again(memory, fp, calls[fp][0], doer)


def _forget_oldest(memory: list[dict[int, Found]], which: int) -> None:
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
        if len(memory[TASKS]) > rule.calls_remembered:
            _forget_oldest(memory, TASKS)
    else:
        _again(memory, same[0], same[1][0], event.agent)


DECIDES = {
    ToolCallRequested: _tool_call,
    ToolCallStarted: _tool_call,
    ModelCallStarted: _model_call,
    SpawnRequested: _task,
    AgentStarted: _task,
}
REMEMBERS = {
    ToolCallStarted: _remember_tool_call,
    ModelCallStarted: _remember_model_call,
    AgentStarted: _remember_task,
}
