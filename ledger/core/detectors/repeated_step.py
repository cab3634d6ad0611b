"""Repeated step: one agent goes round a cycle of equal steps with equal results.

What it sees
    Cycles of 1 to 8 tool calls (name, arguments and result) that come round
    `warn_repeats` times: a warning; `deny_repeats` times: critical, and the calls of the
    cycle are refused from then on. Who waits `retry_ms` may look once more; the wait doubles
    with each round that brings nothing new.
Why it matters
    A loop spends a context window a step and ends by nothing but a limit; 6.5 hours were seen.
What it ignores
    Polling: a result that differs breaks the cycle. Steps whose arguments are unknown
    (fingerprint 0). The same step by another agent, which is `duplicated_work`.
"""

from __future__ import annotations

from array import array
from typing import Any

from ledger.core.detectors.signal import Signal
from ledger.core.events import ToolCallEnded, ToolCallRequested
from ledger.core.policy import RepeatedStep
from ledger.core.state import Agent, Run
from ledger.core.verdicts import Denial

NAME = "repeated_step"
PERIOD_MAX = 8

STEPS, CALLS, OFFSETS = (slice(i * PERIOD_MAX, (i + 1) * PERIOD_MAX) for i in range(3))
NEXT, LAST_MS, USUAL = range(3 * PERIOD_MAX, 3 * PERIOD_MAX + 3)
EQUAL = slice(USUAL, USUAL + PERIOD_MAX)
NOTHING = array("q", [0] * USUAL)
NO_CYCLE = [0] * PERIOD_MAX
WAIT_DOUBLINGS_MAX = 6
# The memory of an agent is one array of 64-bit integers: rings of what was done with which
# result, of the calls' fingerprints and of where they stand; then the place in the rings that comes
# next, and when the newest step ended. Once the newest step is one of those in the ring, EQUAL
# follows, whose p-th place counts the newest steps in a row that equal the one p before them.
# It is 270 bytes, and an agent that calls no tool has none.


def _step(fp: int, said: dict[str, Any]) -> int:
    """What was done with which result, as one number of 62 bits."""
    step: int = fp ^ said["result_fp"] << 9
    return ~step if said["error"] else step


def _equal(memory: array[int], step: int) -> list[int]:
    """EQUAL as it will be after this step."""
    steps, before, place = memory[STEPS], memory[EQUAL] or NO_CYCLE, memory[NEXT]
    return [before[lag] + 1 if steps[place - 1 - lag] == step else 0 for lag in range(PERIOD_MAX)]


def _rounds(equal: list[int]) -> tuple[int, int]:
    """(rounds, period) of the cycle gone round most often; the shorter where two agree."""
    best, period = 1, 0
    for lag, count in enumerate(equal):
        rounds = count // (lag + 1) + 1
        if rounds > best:
            best, period = rounds, lag + 1
    return best, period


def _level(rounds: int, rule: RepeatedStep) -> int:
    """0 below the warning; 1 from there; then one more with each doubling of `deny_repeats`."""
    if rounds < rule.warn_repeats:
        return 0
    return 1 + (rounds // rule.deny_repeats).bit_length()


def _wait_ms(rounds: int, rule: RepeatedStep) -> int:
    """How long after its newest step a critical cycle rests before it may go on."""
    return rule.retry_ms << min(rounds - rule.deny_repeats, WAIT_DOUBLINGS_MAX)


def _newest(memory: array[int], ring: slice, count: int) -> list[int]:
    """The newest `count` entries of a ring, newest first."""
    entries, place = memory[ring], memory[NEXT]
    return [entries[place - 1 - lag] for lag in range(count)]


def _ended(
    run: Run, agent: Agent, event: ToolCallEnded, slot: int, rule: RepeatedStep
) -> Signal | None:
    """Say that a cycle came round again, or that it was left."""
    memory: array[int] | None = agent.memory[slot]
    if memory is None:
        return None
    said = event.__dict__
    call = run.calls[said["call"]]
    if call.fp == 0:
        return None
    step = _step(call.fp, said)
    if step not in memory[STEPS]:
        return _over(run, agent) if run.spoken else None
    rounds, period = _rounds(_equal(memory, step))
    level = _level(rounds, rule)
    if level == 0:
        return _over(run, agent) if run.spoken else None
    critical = rounds >= rule.deny_repeats
    return Signal(
        key=agent.id,
        subject=agent.id,
        severity="critical" if critical else "warning",
        level=level,
        reason=f"{agent.id} went {rounds} times round the same {period} tool calls, "
        "with equal results.",
        facts={"rounds": rounds, "period": period, "tool": call.name},
        evidence=tuple(reversed(_newest(memory, OFFSETS, period))),
        denies=tuple(sorted(set(_newest(memory, CALLS, period)))) if critical else (),
    )


def _requested(
    run: Run, agent: Agent, event: ToolCallRequested, slot: int, rule: RepeatedStep
) -> Signal | None:
    """Refuse a call of a cycle that is critical, until it has waited."""
    memory: array[int] | None = agent.memory[slot]
    if memory is None or len(memory) == USUAL or event.args_fp == 0:
        return None
    rounds, period = _rounds(list(memory[EQUAL]))
    if rounds < rule.deny_repeats or event.args_fp not in _newest(memory, CALLS, period):
        return None
    retry_ms = memory[LAST_MS] + _wait_ms(rounds, rule) - run.now_ms
    if retry_ms <= 0:
        return None
    reason = f"{agent.id} repeats {event.tool} with equal arguments and equal results."
    denial = Denial(
        reason,
        limit="findings.repeated_step.deny_repeats",
        retry_ms=retry_ms,
        instead="Use the result you have, do something else, or wait until you look again.",
    )
    return Signal(agent.id, agent.id, "critical", 1, reason, denial=denial)


def _over(run: Run, agent: Agent) -> Signal | None:
    if f"{NAME} {agent.id}" not in run.spoken:
        return None
    return Signal(agent.id, agent.id, "info", 0, f"{agent.id} left its cycle.")


def _remember(run: Run, agent: Agent, event: ToolCallEnded, slot: int, offset: int) -> None:
    """Put the step into the rings."""
    said = event.__dict__
    fp = run.calls[said["call"]].fp
    if fp == 0:
        return
    step = _step(fp, said)
    memory: array[int] | None = agent.memory[slot]
    if memory is None:
        memory = agent.memory[slot] = NOTHING[:]
    if step in memory[STEPS]:
        memory[EQUAL] = array("q", _equal(memory, step))
    elif len(memory) > USUAL:
        memory = agent.memory[slot] = memory[:USUAL]
    place = memory[NEXT]
    memory[place] = step
    memory[place + PERIOD_MAX] = fp
    memory[place + 2 * PERIOD_MAX] = offset
    memory[NEXT] = (place + 1) % PERIOD_MAX
    memory[LAST_MS] = run.now_ms


DECIDES = {ToolCallRequested: _requested, ToolCallEnded: _ended}
REMEMBERS = {ToolCallEnded: _remember}
