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

from array import array
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

Task = SpawnRequested | AgentStarted

CALLS, DOERS, TURNS, TASKS, AGAIN = range(5)
# The memory of a run: CALLS are fingerprints in sets of WAYS, found by remainder; in a full set
# the oldest makes room. DOERS are who made each call first, and where, as one integer; TURNS
# the place in each set that comes next. Arrays, because a dict of 64 calls weighs 12 kB.
# TASKS maps a fingerprint to who had the task first, where, and its near fingerprint, oldest
# first; AGAIN to all who did it, of what more than one did.
WAYS = 8
NUMBER_BITS = 20
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
        denies=() if what == "task" else (fp,),
        denial=Denial(
            reason,
            limit="findings.duplicated_work",
            instead=f"Use the result of {first}.",
            see=f"{run.id}@{offset}",
        ),
    )


def _empty(rule: DuplicatedWork) -> list[Any]:
    """Twice the room that the policy asks for, so that few sets overflow before it is used."""
    sets = max(1, 2 * rule.calls_remembered // WAYS)
    return [array("q", bytes(8 * WAYS * sets)), array("q", bytes(8 * WAYS * sets)), bytearray(sets),
            {}, {}]  # fmt: skip


def _place(calls: array[int], fp: int) -> int:
    """Where the call stands; -1: nowhere."""
    start = fp % (len(calls) // WAYS) * WAYS
    ways = calls[start : start + WAYS]
    return start + ways.index(fp) if fp in ways else -1


def _same_call(
    run: Run, agent: Agent, what: str, fp: int, slot: int, rule: DuplicatedWork
) -> Signal | None:
    """Say that another agent of the run made the same call."""
    memory = run.memory[slot]
    if memory is None or fp == 0:
        return None
    place = _place(memory[CALLS], fp)
    if place < 0:
        return None
    doer = memory[DOERS][place]
    number = doer & (1 << NUMBER_BITS) - 1
    if number == agent.number:
        return None
    found = (run.names[number], doer >> NUMBER_BITS)
    return _signal(run, agent.id, what, fp, found, slot, rule)


def _tool_call(
    run: Run,
    agent: Agent,
    event: ToolCallRequested | ToolCallStarted,
    slot: int,
    rule: DuplicatedWork,
) -> Signal | None:
    return _same_call(run, agent, event.tool, event.args_fp, slot, rule)


def _model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, rule: DuplicatedWork
) -> Signal | None:
    return _same_call(run, agent, event.model, event.prompt_fp, slot, rule)


def _remember_tool_call(
    run: Run, agent: Agent, event: ToolCallStarted, slot: int, offset: int
) -> None:
    if event.args_fp:
        _remember(run, agent, event.args_fp, slot, offset)


def _remember_model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, offset: int
) -> None:
    if event.prompt_fp:
        _remember(run, agent, event.prompt_fp, slot, offset)


def _memory(run: Run, slot: int) -> list[Any]:
    memory: list[Any] | None = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = _empty(run.rules[slot])  # type: ignore[arg-type]
    return memory


def _remember(run: Run, agent: Agent, fp: int, slot: int, offset: int) -> None:
    """Note who made which call."""
    memory = _memory(run, slot)
    calls, doers, turns = memory[CALLS], memory[DOERS], memory[TURNS]
    place = _place(calls, fp)
    if place >= 0:
        number = doers[place] & (1 << NUMBER_BITS) - 1
        if number != agent.number:
            _again(memory, fp, run.names[number], agent.id)
        return
    turn = fp % len(turns)
    place = turn * WAYS + turns[turn]
    turns[turn] = (turns[turn] + 1) % WAYS
    if memory[AGAIN]:
        memory[AGAIN].pop(calls[place], None)
    calls[place] = fp
    doers[place] = offset << NUMBER_BITS | agent.number


def _again(memory: list[Any], fp: int, first: str, doer: str) -> None:
    agents = memory[AGAIN].setdefault(fp, [first])
    if doer not in agents and len(agents) < AGENTS_NAMED:
        agents.append(doer)


def _same_task(memory: list[Any], fp: int, near: int, bits: int) -> tuple[int, Found] | None:
    """The task that this one is equal or near to, with its fingerprint."""
    tasks: dict[int, tuple[str, int, int]] = memory[TASKS]
    found = tasks.get(fp)
    if found is not None:
        return fp, found
    if near:
        for other, entry in tasks.items():
            if entry[2] and (entry[2] ^ near).bit_count() <= bits:
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
    memory = _memory(run, slot)
    rule: DuplicatedWork = run.rules[slot]  # type: ignore[assignment]
    same = _same_task(memory, event.task_fp, event.task_near, rule.near_bits)
    if same is None:
        memory[TASKS][event.task_fp] = (event.agent, offset, event.task_near)
        if len(memory[TASKS]) > rule.calls_remembered:
            oldest = next(iter(memory[TASKS]))
            del memory[TASKS][oldest]
            memory[AGAIN].pop(oldest, None)
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
