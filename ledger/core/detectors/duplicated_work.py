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
# The memory of a run: CALLS are fingerprints of FP_BYTES each in sets of WAYS, found by remainder;
# in a full set the oldest makes room. DOERS are who made each call first, and where, as one
# integer; TURNS the place in each set that comes next. Bytes that are searched in C, because a
# dict of 64 calls weighs 12 kB, and an array compares integers that it must make first.
# TASKS is a list of threes in one array, oldest first: a task's fingerprint, who had it first, and
# where, and its near fingerprint. AGAIN maps a fingerprint to all who did it, of what more than
# one did.
WAYS, FP_BYTES = 64, 7
SET_BYTES = WAYS * FP_BYTES
NUMBER_BITS = 20
NUMBER_MAX = (1 << NUMBER_BITS) - 1
TASK_FIELDS = 3
AGENTS_NAMED = 64


def _doer(event: Task) -> str:
    return event.child if isinstance(event, SpawnRequested) else event.agent


def _signal(
    run: Run, doer: str, what: str, fp: int, found: int, slot: int, rule: DuplicatedWork
) -> Signal | None:
    first, offset = run.names[found & NUMBER_MAX], found >> NUMBER_BITS
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
    """At least the room that the policy asks for."""
    sets = 1 + (rule.calls_remembered - 1) // WAYS
    doers = array("q", bytes(8 * WAYS * sets))
    # A copy, because a slice has no room to spare.
    return [bytearray(SET_BYTES * sets), doers[:], bytearray(sets), array("q"), {}]


def _place(calls: bytearray, fp: int, wanted: bytes) -> int:
    """Where the call stands, `wanted` being its fingerprint as bytes; -1: nowhere."""
    start, end = 0, len(calls)
    if end > SET_BYTES:
        start = fp % (end // SET_BYTES) * SET_BYTES
        end = start + SET_BYTES
    found = calls.find(wanted, start, end)
    while found > 0 and found % FP_BYTES:  # The end of one and the beginning of the next.
        found = calls.find(wanted, found + 1, end)
    return found // FP_BYTES


def _same_call(
    run: Run, agent: Agent, what: str, fp: int, slot: int, rule: DuplicatedWork
) -> Signal | None:
    """Say that another agent of the run made the same call."""
    memory = run.memory[slot]
    if memory is None or fp == 0:
        return None
    place = _place(memory[CALLS], fp, fp.to_bytes(FP_BYTES, "little"))
    if place < 0:
        return None
    doer = memory[DOERS][place]
    if doer & NUMBER_MAX == agent.number:
        return None
    return _signal(run, agent.id, what, fp, doer, slot, rule)


def _tool_call(
    run: Run,
    agent: Agent,
    event: ToolCallRequested | ToolCallStarted,
    slot: int,
    rule: DuplicatedWork,
) -> Signal | None:
    said = event.__dict__
    return _same_call(run, agent, said["tool"], said["args_fp"], slot, rule)


def _model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, rule: DuplicatedWork
) -> Signal | None:
    said = event.__dict__
    return _same_call(run, agent, said["model"], said["prompt_fp"], slot, rule)


def _remember_tool_call(
    run: Run, agent: Agent, event: ToolCallStarted, slot: int, offset: int
) -> None:
    fp = event.args_fp
    if fp:
        _remember(run, agent, fp, slot, offset)


def _remember_model_call(
    run: Run, agent: Agent, event: ModelCallStarted, slot: int, offset: int
) -> None:
    fp = event.prompt_fp
    if fp:
        _remember(run, agent, fp, slot, offset)


def _memory(run: Run, slot: int) -> list[Any]:
    memory: list[Any] | None = run.memory[slot]
    if memory is None:
        memory = run.memory[slot] = _empty(run.rules[slot])  # type: ignore[arg-type]
    return memory


def _remember(run: Run, agent: Agent, fp: int, slot: int, offset: int) -> None:
    """Note who made which call."""
    memory = run.memory[slot] or _memory(run, slot)
    calls, doers, turns, _, again = memory
    wanted = fp.to_bytes(FP_BYTES, "little")
    place = _place(calls, fp, wanted)
    if place >= 0:
        number = doers[place] & NUMBER_MAX
        if number != agent.number:
            _again(memory, fp, run.names[number], agent.id)
        return
    turn = fp % len(turns)
    oldest = turns[turn]
    turns[turn] = (oldest + 1) % WAYS
    place = turn * WAYS + oldest
    at = place * FP_BYTES
    if again:
        again.pop(int.from_bytes(calls[at : at + FP_BYTES], "little"), None)
    calls[at : at + FP_BYTES] = wanted
    doers[place] = offset << NUMBER_BITS | agent.number


def _again(memory: list[Any], fp: int, first: str, doer: str) -> None:
    agents = memory[AGAIN].setdefault(fp, [first])
    if doer not in agents and len(agents) < AGENTS_NAMED:
        agents.append(doer)


def _same_task(memory: list[Any], fp: int, near: int, bits: int) -> tuple[int, int] | None:
    """(its fingerprint, who had it first and where) of the task that this one is equal or near
    to."""
    tasks: array[int] = memory[TASKS]
    fps = tasks[::TASK_FIELDS]
    if fp in fps:
        return fp, tasks[TASK_FIELDS * fps.index(fp) + 1]
    if near:
        for place, other in enumerate(tasks[TASK_FIELDS - 1 :: TASK_FIELDS]):
            if other and (other ^ near).bit_count() <= bits:
                return fps[place], tasks[TASK_FIELDS * place + 1]
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
        tasks: array[int] = memory[TASKS]
        number = len(run.names)  # It is not in the tree yet, and comes next.
        tasks.extend((event.task_fp, offset << NUMBER_BITS | number, event.task_near))
        if len(tasks) > TASK_FIELDS * rule.calls_remembered:
            memory[AGAIN].pop(tasks[0], None)
            del tasks[:TASK_FIELDS]
    else:
        _again(memory, same[0], run.names[same[1] & NUMBER_MAX], event.agent)


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
