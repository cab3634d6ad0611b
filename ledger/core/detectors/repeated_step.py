"""Repeated step: one agent goes round a cycle of equal steps with equal results.

What it sees
    Cycles of 1 to 8 tool calls (name, arguments and result) that come round
    `warn_repeats` times: a warning; `deny_repeats` times: critical, and the calls of the
    cycle are refused from then on.
Why it matters
    A loop spends a context window a step and ends by nothing but a limit; 6.5 hours were seen.
What it ignores
    Polling: a result that differs breaks the cycle. Steps whose arguments are unknown
    (fingerprint 0). The same step by another agent, which is `duplicated_work`.
"""

from __future__ import annotations

from ledger.core.detectors.signal import Signal
from ledger.core.events import ToolCallEnded, ToolCallRequested
from ledger.core.policy import RepeatedStep
from ledger.core.state import Agent, Run
from ledger.core.verdicts import Denial

NAME = "repeated_step"
READS = (ToolCallRequested, ToolCallEnded)
PERIOD_MAX = 8

STEPS, CALLS, OFFSETS, EQUAL, REFUSED = range(5)
# The memory of an agent is five lists. The first three are rings of the last PERIOD_MAX steps,
# newest first: what was done with which result, the call's fingerprint, where it stands.
# EQUAL[p - 1] counts the newest steps in a row that equal the one p before them; it is empty
# while nothing repeats, which is nearly always. REFUSED are calls that the rule refuses.
_MIX = 0x9E3779B97F4A7C15
_MASK = 2**62 - 1


def _step(run: Run, event: ToolCallEnded) -> tuple[int, int]:
    """(step, call): 0 where the arguments are not known."""
    call = run.calls.get(event.call)
    if call is None or call.fp == 0:
        return 0, 0
    failed = 1 if event.error else 0
    return ((call.fp * _MIX) ^ (event.result_fp << 1 | failed)) & _MASK or 1, call.fp


def _equal(memory: list[list[int]], step: int) -> list[int]:
    """EQUAL as it will be after this step; empty when nothing repeats."""
    steps = memory[STEPS]
    if step not in steps:
        return []
    before = memory[EQUAL]
    after = [0] * PERIOD_MAX
    for lag, earlier in enumerate(steps):
        if earlier == step:
            after[lag] = (before[lag] if before else 0) + 1
    return after


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


def decide(
    run: Run,
    agent: Agent,
    event: ToolCallRequested | ToolCallEnded,
    slot: int,
    rule: RepeatedStep,
) -> Signal | None:
    """Say that a cycle came round again; refuse a call of a cycle that is critical."""
    memory = agent.memory[slot]
    if memory is None:
        return None
    if isinstance(event, ToolCallRequested):
        return _refuse(agent, event) if event.args_fp in memory[REFUSED] else None
    step, _ = _step(run, event)
    equal = _equal(memory, step) if step else []
    if not equal and not memory[EQUAL]:
        return None
    rounds, period = _rounds(equal)
    level = _level(rounds, rule)
    if level == 0:
        return _over(run, agent)
    critical = rounds >= rule.deny_repeats
    return Signal(
        key=agent.id,
        subject=agent.id,
        severity="critical" if critical else "warning",
        level=level,
        reason=f"{agent.id} went {rounds} times round the same {period} tool calls, "
        "with equal results.",
        facts={"rounds": rounds, "period": period, "tool": run.calls[event.call].name},
        evidence=tuple(reversed(memory[OFFSETS][:period])),
        denies=tuple(sorted(set(memory[CALLS][:period]))) if critical else (),
    )


def _refuse(agent: Agent, event: ToolCallRequested) -> Signal:
    reason = f"{agent.id} repeats {event.tool} with equal arguments and equal results."
    denial = Denial(
        reason,
        limit="findings.repeated_step.deny_repeats",
        instead="Use the result you have, or do something else.",
    )
    return Signal(agent.id, agent.id, "critical", 1, reason, denial=denial)


def _over(run: Run, agent: Agent) -> Signal | None:
    if run.spoken.get(f"{NAME} {agent.id}", 0) == 0:
        return None
    return Signal(agent.id, agent.id, "info", 0, f"{agent.id} left its cycle.")


def remember(
    run: Run, agent: Agent, event: ToolCallRequested | ToolCallEnded, slot: int, offset: int
) -> None:
    """Shift the step into the rings."""
    if isinstance(event, ToolCallRequested):
        return
    step, call = _step(run, event)
    if step == 0:
        return
    memory = agent.memory[slot]
    if memory is None:
        agent.memory[slot] = [[step], [call], [offset], [], []]
        return
    equal = _equal(memory, step)
    memory[EQUAL] = equal
    for ring, value in zip(memory, (step, call, offset), strict=False):
        ring.insert(0, value)
        del ring[PERIOD_MAX:]
    rule: RepeatedStep = run.rules[slot]  # type: ignore[assignment]
    rounds, period = _rounds(equal)
    memory[REFUSED] = sorted(set(memory[CALLS][:period])) if rounds >= rule.deny_repeats else []
