"""How a run comes and goes: events for a run that the judge does not hold.

A run that ended leaves a tombstone, so that a late event cannot start it again. Orders for
runs that nobody announced yet are kept, and bind them when they start.
"""

from __future__ import annotations

from pydantic import ValidationError

from ledger.core import budget, detectors, policy
from ledger.core import events as e
from ledger.core.changes import start_agent
from ledger.core.events import Record
from ledger.core.orders import BITS
from ledger.core.state import KILL, Run, State
from ledger.core.verdicts import SPAWNS, Verdict

FOLD_VERSION = 1
"""Raised whenever the same events and policy give other verdicts, or state another form."""
UUID_DIGITS, UUID_VERSION_AT, UUID_RANDOM_BITS = 32, 12, 80
POLICY_RUN = "policy"
"""The key under which policies are recorded; no run has this id."""
POLICIES_MAX = 1_000


def judge_outside(state: State, record: Record) -> Verdict | None:
    """What is to be said of a record whose run is not held; reads only."""
    refusal = _refusal(state, record)
    return refused(state, record, refusal) if refusal else None


def apply_outside(state: State, record: Record, verdict: Verdict | None) -> None:
    """Change the state by a record whose run is not held, and what was said of it.

    What another version took and this one cannot hold (a policy that it cannot read, a run
    under such a policy) changes nothing.
    """
    event = record.event
    if verdict is not None and verdict.refusal:
        return
    if isinstance(event, e.PolicyRecorded):
        if not _bad_policy(state, event):
            state.policies[event.digest] = policy.from_text(event.text)
    elif isinstance(event, e.RunStarted):
        if event.agent and (not event.policy or event.policy in state.policies):
            _start(state, record, event)
    elif isinstance(event, e.OrderGiven):
        _keep_order(state, event)


def forget(state: State, run: Run) -> None:
    """Drop the run and leave its tombstone; at the limit the oldest tombstone goes.

    The limit is that of the default policy: tombstones are of all runs, and none may shorten
    the memory of another.
    """
    del state.runs[run.id]
    state.ended[run.id] = run.now_ms
    while len(state.ended) > policy.DEFAULT.memory.tombstones_max:
        del state.ended[next(iter(state.ended))]


def refused(state: State, record: Record, refusal: str) -> Verdict:
    """The verdict that refuses an event without asking its run."""
    event = record.event
    return Verdict(
        offset=record.offset,
        run=event.run,
        agent=event.agent,
        about=event.type,
        source=event.source,
        seq=event.seq,
        at_ms=record.append_ms,
        refusal=refusal,
        version=FOLD_VERSION,
        partition=state.partition,
    )


def _refusal(state: State, record: Record) -> str:
    event = record.event
    if isinstance(event, e.PolicyRecorded):
        return _bad_policy(state, event)
    if isinstance(event, e.OutcomeReported):
        return ""
    if event.run in state.ended:
        return f"run {event.run} has ended"
    if isinstance(event, e.OrderGiven):
        return _bad_order(state, event)
    if not isinstance(event, e.RunStarted):
        return f"run {event.run} is not known; its first event is run_started"
    return _bad_start(state, record, event)


def _bad_order(state: State, event: e.OrderGiven) -> str:
    if event.scope != "run":
        return f"run {event.run} is not known; order the whole run"
    allowed = policy.DEFAULT.memory.tombstones_max
    if len(state.latched) >= allowed and event.run not in state.latched:
        return f"orders wait for {allowed} runs that are not known (memory.tombstones_max)"
    return ""


def _bad_policy(state: State, event: e.PolicyRecorded) -> str:
    if len(state.policies) >= POLICIES_MAX and event.digest not in state.policies:
        return f"{POLICIES_MAX} policies are recorded, the most that one log holds"
    try:
        found = policy.from_text(event.text)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"policy {event.digest} cannot be read: {where}: {first['msg']}"
    if found.digest != event.digest:
        return f"policy {event.digest} has the digest {found.digest}"
    return ""


def _bad_start(state: State, record: Record, event: e.RunStarted) -> str:
    if not event.agent:
        return "run_started names no agent; a run has a lead"
    if event.run == POLICY_RUN:
        return f"{POLICY_RUN!r} is the key of policy records; name the run otherwise"
    if event.seq > 1:
        return f"source {event.source!r} is new in run {event.run} and starts at seq {event.seq}"
    if event.policy and event.policy not in state.policies:
        return f"policy {event.policy} was never recorded; record its text before the run"
    memory = _policy(state, event).memory
    if len(state.runs) >= memory.runs_live_max:
        return f"{len(state.runs)} runs are live, the most that memory.runs_live_max allows"
    born_ms = born(event.run)
    if event.grade != "observed" and born_ms and record.append_ms - born_ms > memory.horizon_ms:
        return f"run {event.run} was named {record.append_ms - born_ms} ms ago (memory.horizon_ms)"
    return ""


def born(run_id: str) -> int:
    """When a UUIDv7 run id was made (ms since 1970); 0 for any other id."""
    digits = run_id.replace("-", "")
    if len(digits) != UUID_DIGITS or digits[UUID_VERSION_AT] != "7":
        return 0
    try:
        return int(digits, 16) >> UUID_RANDOM_BITS
    except ValueError:
        return 0


def _policy(state: State, event: e.RunStarted) -> policy.Policy:
    return state.policies[event.policy] if event.policy else policy.DEFAULT


def _start(state: State, record: Record, event: e.RunStarted) -> None:
    pinned = _policy(state, event)
    observed = event.grade == "observed"
    run = Run(event.run, pinned, event.tenant, event.effort, observed, len(detectors.DETECTORS))
    run.rules = detectors.rules(pinned)
    run.partition = state.partition
    run.offset = record.offset
    run.now_ms = run.active_ms = event.at_ms if observed else record.append_ms
    run.deadline_ms = run.now_ms + pinned.memory.idle_ms
    if event.seq:
        run.sources[event.source] = event.seq
    run.latch = state.latched.pop(event.run, 0)
    start_agent(run, event, None)
    budget.spend((run.budget,), SPAWNS, 1)
    state.runs[run.id] = run


def _keep_order(state: State, event: e.OrderGiven) -> None:
    held = state.latched.get(event.run, 0)
    keep = KILL if event.action == "resume" else held
    state.latched[event.run] = held & keep | BITS[event.action]
