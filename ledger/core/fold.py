"""The one function: events and policy in, verdicts out, state changed in place.

`fold` is three steps: `clock.advance` moves the run's clock to the record and lets leases that ran
out end; `decide` reads; `apply` changes. A verdict that was published is applied, never
decided anew: `apply_published`.

What a newcomer would get wrong
    What every event passes reads `event.__dict__`, here and in the handlers of calls: an attribute
    of a pydantic model goes through a hook, and costs ten times a look into a dict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.core import detectors, orders
from ledger.core import events as e
from ledger.core.admission import RECALL_RETRY_MS, admit, barred, recalls, wanted
from ledger.core.changes import CHANGES, Change, apply_orders, end_run, grant
from ledger.core.checks import CHECKS, WITHOUT_AGENT, Check
from ledger.core.checks import source as check_source
from ledger.core.clock import advance, jump, set_deadline
from ledger.core.detectors.signal import Signal
from ledger.core.events import Record
from ledger.core.lifecycle import FOLD_VERSION, apply_outside, forget, judge_outside
from ledger.core.state import ENDED, KILL, LIVE, Agent, Run, State
from ledger.core.verdicts import Finding, Mode, RuleOrder, Verdict

_REQUESTS = (e.LeaseRequested, e.SpawnRequested, e.ToolCallRequested, e.ModelCallRequested)
_ANSWERED = frozenset(_REQUESTS)
_SETTLES = frozenset({e.OrderGiven, e.OrderReceipted, e.HolderLost, e.Ticked, e.LeaseReturned})
_QUIET, _IF_ORDERED, _ALWAYS = range(3)

After = Callable[[State, Run], None]
# What is to be done with an event of each class, looked up once: (needs an announced agent,
# check, detectors that decide, when there is something to say all the same), and (detectors that
# remember, change, what comes after it in place of noting that somebody spoke).
Deciding = tuple[bool, Check | None, detectors.Deciders, int]
Applying = tuple[detectors.Rememberers, Change | None, After | None]
Plan = tuple[Deciding, Applying]
Published = Callable[[Verdict | None], Verdict | None]


def fold(state: State, record: Record) -> Verdict | None:
    """Judge one record: its verdict, or None where there is nothing to say."""
    event = record.event
    said = event.__dict__
    run = state.runs.get(said["run"])
    if run is None:
        verdict = judge_outside(state, record)
        apply_outside(state, record, verdict)
        return verdict
    last = advance(run, record, said)
    if last < 0:
        return None
    plan = _PLANS[type(event)]
    agent = run.agents.get(said["agent"])
    verdict = _decide(run, agent, record, event, plan, last)
    _apply(state, run, agent, record, said, plan, last, verdict)
    return verdict


def apply_published(state: State, record: Record, verdict: Verdict | None) -> None:
    """Apply what was once decided of this record (None: nothing was said of it)."""
    event = record.event
    said = event.__dict__
    run = state.runs.get(said["run"])
    if run is None:
        apply_outside(state, record, verdict)
        return
    last = advance(run, record, said)
    if last < 0:
        return
    plan = _PLANS[type(event)]
    agent = run.agents.get(said["agent"])
    published = _as_published(_refusal(run, agent, event, plan, last), record, verdict)
    _apply(state, run, agent, record, said, plan, last, published)


def compare(state: State, record: Record, published: Published) -> Verdict | None:
    """Decide as `fold` would, but apply what was published; gives what this code would say.

    `published` is asked for what was published, and told what this code would say.
    """
    event = record.event
    said = event.__dict__
    run = state.runs.get(said["run"])
    if run is None:
        verdict = judge_outside(state, record)
        apply_outside(state, record, published(verdict))
        return verdict
    last = advance(run, record, said)
    if last < 0:
        return None
    plan = _PLANS[type(event)]
    agent = run.agents.get(said["agent"])
    verdict = _decide(run, agent, record, event, plan, last)
    decided = published(verdict)
    if decided is not verdict:
        decided = _as_published("" if verdict is None else verdict.refusal, record, decided)
    _apply(state, run, agent, record, said, plan, last, decided)
    return verdict


def next_deadline(state: State, run_id: str) -> int:
    """When the run needs a `ticked` (ms of its clock); 0: never (an import, or no such run)."""
    run = state.runs.get(run_id)
    return 0 if run is None or run.observed else run.deadline_ms


# --- decide ------------------------------------------------------------------------------------


def _decide(
    run: Run, agent: Agent | None, record: Record, event: e.Event, plan: Plan, last: int
) -> Verdict | None:
    """What is to be said of the record; reads only."""
    needs_agent, check, deciders, speaks = plan[0]
    refusal = ""
    if last == 0 or (agent is None and needs_agent):
        refusal = _refusal(run, agent, event, plan, last)
    elif check is not None:
        refusal = check(run, agent, event)
    if refusal:
        verdict = _verdict(run, record, refusal)
        verdict.findings = (jump(run),) if run.jumped_ms else ()
        return verdict
    signals: list[tuple[int, Signal]] | None = None
    rules = run.rules
    for slot, look in deciders:
        signal = look(run, agent or _actor(run, event), event, slot, rules[slot])
        if signal is not None:
            signals = signals or []
            signals.append((slot, signal))
    silent = signals is None and not run.jumped_ms
    if silent and (speaks == _QUIET or (speaks == _IF_ORDERED and not run.orders)):
        return None
    return _say(run, agent, record, signals or [])


def _refusal(run: Run, agent: Agent | None, event: e.Event, plan: Plan, last: int) -> str:
    """Why the event cannot follow what came before; empty: it can."""
    refusal = check_source(run, event) if last == 0 and event.seq else ""
    needs_agent, check, _, _ = plan[0]
    if agent is None and needs_agent:
        return refusal or f"agent {event.agent or '(none)'} was never announced in run {run.id}"
    if check is not None:
        return refusal or check(run, agent, event)
    return refusal


def _as_published(ours: str, record: Record, published: Verdict | None) -> Verdict | None:
    """What was published; but what this state has no place for is refused, whoever took it."""
    if not ours or (published is not None and published.refusal):
        return published
    event = record.event
    return Verdict(record.offset, event.run, source=event.source, seq=event.seq, refusal=ours)


def _actor(run: Run, event: e.Event) -> Agent:
    """Whom the detectors look at when the event's own agent is not yet there: its parent."""
    assert isinstance(event, e.AgentStarted)
    return run.agents[event.parent]


def _say(
    run: Run, agent: Agent | None, record: Record, signals: list[tuple[int, Signal]]
) -> Verdict | None:
    event = record.event
    request = type(event) in _ANSWERED
    killed = request and agent is not None and barred(run, agent, event)  # type: ignore[arg-type]
    verdict = _verdict(run, record)
    if run.jumped_ms:
        verdict.findings = (jump(run),)
    if signals and not killed:
        _find(run, record, signals, verdict, request)
    if request and verdict.denial is None:
        assert agent is not None
        verdict.lease, verdict.denial = admit(run, agent, event, record.offset)  # type: ignore[arg-type]
    if request:
        short = "transform" if verdict.denial is not None else "allow"
        verdict.decision = "deny" if verdict.lease is None else short  # type: ignore[assignment]
        if verdict.denial is not None and verdict.denial.retry_ms == RECALL_RETRY_MS:
            verdict.recalls = recalls(run, agent, wanted(run, event))  # type: ignore[arg-type]
    if type(event) in _SETTLES:
        verdict.quiet = _quiet(run, event)
    if request or verdict.findings or verdict.quiet or verdict.orders:
        return verdict
    return None


def _find(
    run: Run, record: Record, signals: list[tuple[int, Signal]], verdict: Verdict, request: bool
) -> None:
    """Turn signals into findings, orders and the denial of the request at hand."""
    findings: list[Finding] = []
    given: list[RuleOrder] = []
    for slot, signal in signals:
        rule = run.rules[slot]
        name = detectors.NAMES[slot]
        spoken = run.spoken.get(f"{name} {signal.key}", 0)
        effect = "warn" if run.observed else rule.effect(signal.severity)
        if signal.level > spoken or (signal.level == 0 and spoken):
            finding = _finding(signal, name, record.offset, rule.mode)
            finding.effect = effect if signal.level else "warn"
            if effect != "warn" and rule.mode == "enforce":
                finding.denies = signal.denies
            findings.append(finding)
            if signal.level and rule.mode == "enforce":
                order = _order(run, record, finding, len(given))
                if order is not None:
                    given.append(order)
        if request and signal.denial is not None and effect != "warn":
            if rule.mode == "enforce":
                verdict.denial = verdict.denial or signal.denial
            else:
                verdict.would = verdict.would or signal.denial
    verdict.findings += tuple(findings)
    verdict.orders = tuple(given)


def _finding(signal: Signal, name: str, offset: int, mode: Mode) -> Finding:
    return Finding(
        name,
        signal.subject,
        signal.severity,
        signal.level,
        signal.reason,
        {"key": signal.key, **signal.facts} if signal.key != signal.subject else signal.facts,
        (*signal.evidence, offset),
        mode,
    )


def _order(run: Run, record: Record, finding: Finding, ordinal: int) -> RuleOrder | None:
    """The order that a finding leads to, unless its scope is held that way already."""
    action, _, scope = finding.effect.partition("_")
    if not scope:
        return None
    agent = run.agents.get(finding.subject)
    if agent is None and scope != "run" and len(run.latched) >= run.policy.memory.agents_max:
        return None
    held = run.latch
    if agent is not None and scope != "run":
        held |= agent.latch if scope == "agent" else agent.latch_below
    if held & (KILL | orders.BITS[action]):
        return None
    order = f"{run.partition}-{record.offset}-{ordinal}"
    target = "" if scope == "run" else finding.subject
    return RuleOrder(order, action, scope, target, f"{finding.name}: {finding.reason}")  # type: ignore[arg-type]


def _quiet(run: Run, event: e.Event) -> tuple[str, ...]:
    if isinstance(event, e.OrderReceipted):
        return orders.due_quiet(run, event.source, event.order)
    if isinstance(event, e.HolderLost):
        return orders.due_quiet(run, event.holder)
    return orders.due_quiet(run)


def _verdict(run: Run, record: Record, refusal: str = "") -> Verdict:
    event = record.event
    return Verdict(
        offset=record.offset,
        run=run.id,
        agent=event.agent,
        about=event.type,
        source=event.source,
        seq=event.seq,
        at_ms=run.now_ms,
        refusal=refusal,
        policy=run.policy.digest,
        version=FOLD_VERSION,
        partition=run.partition,
    )


# --- apply -------------------------------------------------------------------------------------


def _apply(
    state: State,
    run: Run,
    agent: Agent | None,
    record: Record,
    said: dict[str, Any],
    plan: Plan,
    last: int,
    verdict: Verdict | None,
) -> None:
    """Change the run by the event and what was decided of it."""
    event = record.event
    offset = run.offset = record.offset
    seq = said["seq"]
    if verdict is not None and verdict.refusal:
        if seq and (last or not check_source(run, event)):
            run.sources[said["source"]] = seq  # What was refused was heard: the next follows it.
        return
    if seq:
        if seq > last + 1:
            run.gaps += 1
        run.sources[said["source"]] = seq
    rememberers, change, after = plan[1]
    if agent is None and type(event) is e.AgentStarted:
        agent = _actor(run, event)
    for slot, remember in rememberers:
        remember(run, agent, event, slot, offset)  # type: ignore[arg-type]
    if change is not None:
        change(run, agent, event, offset)  # type: ignore[arg-type]
    if verdict is not None:
        _apply_verdict(run, verdict)
    if after is None:
        run.active_ms = run.now_ms
    else:
        after(state, run)


def _apply_verdict(run: Run, verdict: Verdict) -> None:
    if verdict.lease is not None:
        grant(run, verdict.lease)
    for finding in verdict.findings:
        key = f"{finding.name} {finding.facts.get('key', finding.subject)}"
        if finding.level:
            run.spoken[key] = finding.level
            if len(run.spoken) > run.policy.memory.findings_max:
                del run.spoken[next(iter(run.spoken))]
        else:
            run.spoken.pop(key, None)
    apply_orders(run, verdict)


def _ended(state: State, run: Run) -> None:
    run.active_ms = run.now_ms
    if run.observed:
        forget(state, run)  # An import gets no ticks that would do it later.


def _tick(state: State, run: Run) -> None:
    memory = run.policy.memory
    if run.status == LIVE and run.now_ms >= run.active_ms + memory.idle_ms:
        end_run(run)
    over = run.status == ENDED and run.now_ms >= run.ended_ms + memory.linger_ms
    if over and not orders.waits_until_ms(run):  # Somebody waits to hear that it is quiet.
        forget(state, run)
    else:
        set_deadline(run)


_AFTER: dict[type[e.Event], After] = {e.Ticked: _tick, e.RunEnded: _ended}
_PLANS: dict[type[e.Event], Plan] = {
    cls: (
        (
            cls not in WITHOUT_AGENT,
            CHECKS.get(cls),
            detectors.deciders(cls),
            _ALWAYS if cls in _ANSWERED else _IF_ORDERED if cls in _SETTLES else _QUIET,
        ),
        (detectors.rememberers(cls), CHANGES.get(cls), _AFTER.get(cls)),
    )
    for cls in e.EVENT_TYPES
}
