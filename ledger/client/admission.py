"""From the wish to act to the answer: latch, lease, a request by name, or no ledger to ask.

The order of things
    1. The latch: killed raises, paused waits.
    2. The agent's lease. Nearly every act ends here, in microseconds.
    3. A new lease, where one can cover the act.
    4. The act asked for by name: what no lease covers, spawns, calls that a finding refuses.
    5. No answer in time: what the policy says under `unreachable` (PROTOCOLS 14).
All of it is written as steps (`waiter.py`), for threads and tasks alike; all waits are bounded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from ledger.client import leases
from ledger.client.answers import Decision, Denied, Killed
from ledger.client.drafts import make
from ledger.client.leases import HeldLease, LeaseRequest
from ledger.client.orders import killed_by
from ledger.client.queue import Build
from ledger.client.verdicts import Asked
from ledger.client.waiter import Steps, Waiter
from ledger.core.events import (
    LeaseRequested,
    LeaseReturned,
    ModelCallRequested,
    SpawnRequested,
    ToolCallRequested,
)
from ledger.core.shapes import Units
from ledger.core.state import KILL, PAUSE
from ledger.core.verdicts import MODEL_CALLS, SPAWNS, UNITS, Verdict

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.local import LocalAgent

LOOK_AFTER_S = 0.3
"""Without an answer for so long, the judge is looked after, again and again."""
RETRY_MS_MAX = 250
"""A denial that may lift sooner is waited for; a longer one is the agent's to decide."""
RETRIES_MAX = 40
KINDS: tuple[Literal["spawn", "tool_call", "model_call"], ...] = (
    "spawn", "tool_call", "model_call",
)  # fmt: skip

Request = SpawnRequested | ToolCallRequested | ModelCallRequested
Answered = tuple[Decision, HeldLease | None]


class Wish:
    """An act that somebody wants to do: one `unit`, with estimates (-1 tokens: no model call).

    `fp` is the fingerprint by which a finding may refuse the call (0: none). `by_name` and
    `by_name_args` build the request, `build` and `rest` the event that it started (None: the
    caller records it, and the lease is pledged to him until then).
    """

    __slots__ = (
        "build", "by_name", "by_name_args", "fp", "microdollars", "rest", "tokens", "unit",
    )  # fmt: skip

    def __init__(
        self, unit: int, by_name: Build, by_name_args: tuple[Any, ...], build: Build | None,
        rest: tuple[Any, ...], *, tokens: int = -1, microdollars: int = 0, fp: int = 0,
    ) -> None:  # fmt: skip
        self.unit, self.tokens, self.microdollars = unit, tokens, microdollars
        self.by_name, self.by_name_args = by_name, by_name_args
        self.build, self.rest = build, rest
        self.fp = fp


class _Away(Exception):
    """Nobody answered in time."""


class _Answer:
    """A verdict on a request by name, and when the request was sent."""

    __slots__ = ("sent_ns", "verdict")

    def __init__(self, verdict: Verdict, sent_ns: int) -> None:
        self.verdict, self.sent_ns = verdict, sent_ns

    @property
    def late(self) -> bool:
        """Whether the lease it gives ran out before it was read."""
        grant = self.verdict.lease
        return grant is not None and (
            leases.boottime_ns() >= self.sent_ns + grant.ttl_ms * 1_000_000
        )


def held(engine: Engine, agent: LocalAgent) -> Steps[None]:
    """Raise Killed, or wait while the agent is paused: at most `client.pause_max_ms`, then
    Denied."""
    until = time.monotonic() + agent.run.policy.client.pause_max_ms / 1000
    engine.peek()
    while agent.bits:
        if agent.bits & KILL:
            raise killed_by(agent)
        if not agent.bits & PAUSE:
            return
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise Denied(_paused_too_long(agent))
        yield from _wait(agent, Waiter(any_order=True), min(left_s, 1.0))
        engine.peek()


def admit(engine: Engine, agent: LocalAgent, wish: Wish) -> Steps[Answered]:
    """The slow way of an act: everything but an agent at peace with a lease that covers it.

    When allowed, the event that the act started is recorded; the lease is given where it is to
    be settled. Raises Killed, and Denied after a pause that was too long.
    """
    try:
        return (yield from _admit(engine, agent, wish))
    except _Away:
        decision = engine.unreachable(agent, KINDS[wish.unit])
    if decision.allowed and wish.build is not None:
        engine.queue.put(agent.run.id, wish.build, "", *wish.rest)
    return decision, None


def _admit(engine: Engine, agent: LocalAgent, wish: Wish) -> Steps[Answered]:
    until = time.monotonic() + agent.run.policy.unreachable.wait_ms / 1000
    for _ in range(RETRIES_MAX):
        yield from held(engine, agent)
        refused = wish.fp and any(wish.fp in fps for fps in tuple(agent.denies.values()))
        if not refused and (wish.unit != SPAWNS or agent.run.policy.lease.spawns):
            lease = yield from _leased(engine, agent, wish)
            if lease is not None:
                return Decision(True, lease=lease.id), lease
            # What is left in its own lease may be what is missing for this act.
            leases.give_back(agent, engine.queue)
        answer = yield from _by_name(engine, agent, wish)
        if answer.late:
            unclaimed(engine, answer.verdict)
            continue
        decision = decision_of(answer.verdict, agent.run.refusal)
        if decision.allowed:
            return decision, (yield from _begin(engine, agent, wish, answer))
        left_s = until - time.monotonic()
        if not 0 < decision.retry_ms <= RETRY_MS_MAX or left_s <= 0:
            break
        # Units are lent out, and were recalled by this answer: some may be back soon.
        yield from _wait(agent, Waiter(), min(left_s, decision.retry_ms / 1000))
    return decision, None


def _leased(engine: Engine, agent: LocalAgent, wish: Wish) -> Steps[HeldLease | None]:
    """From a lease, asking for a new one where that can help; else None. Raises _Away."""
    for _ in range(2):
        lease = leases.take(
            agent, wish.unit, wish.tokens, wish.microdollars, engine.queue, wish.build, wish.rest,
            pledged=wish.build is None,
        )  # fmt: skip
        if lease is not None:
            return lease
        request = renew(engine, agent, wish.unit, wish.tokens, wish.microdollars)
        if request is None:
            return None
        waiter = Waiter()
        request.join(waiter)
        if not (yield from _asked(engine, agent, waiter)):
            if request.asked is not None:
                engine.verdicts.give_up(request.asked)
            request.done(short=False)
            raise _Away
        yield from held(engine, agent)
    return None


def renew(
    engine: Engine, agent: LocalAgent, unit: int, tokens: int = -1, microdollars: int = 0
) -> LeaseRequest | None:
    """Ask for a lease, or join who asked already; None where it cannot help."""
    wants = leases.wants(agent, unit, tokens, microdollars)
    if wants is None:
        return None
    with agent.lock:
        if agent.renewing is not None:
            return agent.renewing
        now = leases.boottime_ns()
        if now < agent.denied_until_ns:
            return None
        if agent.lease is not None and now < agent.lease.renew_ns:
            agent.share = min(leases.SHARES, agent.share * 2)  # Used up before its time.
        request = agent.renewing = LeaseRequest(agent, engine.queue)
    asked = request.asked = Asked(engine.verdicts, agent.run.id, request.settle)
    fields = {"agent": agent.id, "wants": wants}
    engine.begin()
    engine.queue.put_urgent(agent.run.id, asked, make, LeaseRequested, fields)
    return request


def _by_name(engine: Engine, agent: LocalAgent, wish: Wish) -> Steps[_Answer]:
    """Ask for this one act. Raises _Away."""
    sent_ns = leases.boottime_ns()
    waiter = Waiter()
    asked = Asked(engine.verdicts, agent.run.id, waiter.settle)
    engine.begin()
    engine.queue.room(agent.run.id, must=True)
    engine.queue.put_urgent(agent.run.id, asked, wish.by_name, *wish.by_name_args)
    try:
        verdict = yield from _asked(engine, agent, waiter)
    except BaseException:
        _abandon(engine, asked, waiter)
        raise
    if verdict is None:
        _abandon(engine, asked, waiter)
        raise _Away
    return _Answer(verdict, sent_ns)


def _abandon(engine: Engine, asked: Asked, waiter: Waiter) -> None:
    """Nobody waits any more; what was or will be granted goes back."""
    engine.verdicts.give_up(asked)
    if isinstance(waiter.answer, Verdict):
        unclaimed(engine, waiter.answer)


def _begin(
    engine: Engine, agent: LocalAgent, wish: Wish, answer: _Answer
) -> Steps[HeldLease | None]:
    """The act was allowed by name: record that it started, under its own lease, unless an order
    came first."""
    grant = answer.verdict.lease
    assert grant is not None
    begun = False
    while not begun:
        try:
            yield from held(engine, agent)
        except BaseException:  # Also a task that is cancelled in a pause.
            unclaimed(engine, answer.verdict)
            raise
        with agent.lock:  # As in `take`: nothing begins behind an order's receipt.
            begun = not agent.bits & leases.HELD
            if begun and wish.build is not None:
                engine.queue.put(agent.run.id, wish.build, grant.lease, *wish.rest)
    return leases.single(grant, answer.sent_ns) if wish.unit == MODEL_CALLS else None


def _asked(engine: Engine, agent: LocalAgent, waiter: Waiter) -> Steps[Any]:
    """Wait for the judge, and see that there is one. None when nobody answered in time; who was
    away a moment ago is not waited for as long again."""
    until = time.monotonic() + agent.run.policy.unreachable.wait_ms / 1000
    while True:
        left_s = until - time.monotonic()
        answer = yield from _wait(agent, waiter, min(LOOK_AFTER_S, max(0.0, left_s)))
        if answer is not None:
            engine.reached()
            return answer
        engine.want_judge()
        if engine.away or left_s <= LOOK_AFTER_S:
            return None


def _wait(agent: LocalAgent, waiter: Waiter, timeout_s: float) -> Steps[Any]:
    """One wait, which a kill of the agent ends. Raises Killed."""
    agent.waiters.add(waiter)
    try:
        # Looked at after it was added, so that no order falls between.
        if agent.bits & KILL:
            raise killed_by(agent)
        answer = yield waiter, timeout_s
    finally:
        agent.waiters.discard(waiter)
    if isinstance(answer, Killed):
        raise answer
    return answer


def decision_of(verdict: Verdict, refusal: str = "") -> Decision:
    """The judge's verdict on a request, as a Decision; `refusal` is why its run was refused."""
    denial, grant = verdict.denial, verdict.lease
    if verdict.refusal:
        reason = f"The ledger refused the request: {refusal or verdict.refusal}."
        return Decision(False, "deny", reason=reason, instead="Stop.")
    if grant is not None:
        if denial is None:
            return Decision(True, "allow", grant.lease)
        return Decision(True, "transform", grant.lease, reason=denial.reason, limit=denial.limit)
    if denial is None:
        return Decision(False, "deny", reason="The ledger does not allow this.")
    return Decision(
        False, "deny", reason=denial.reason, limit=denial.limit, left=denial.left,
        retry_ms=denial.retry_ms, instead=denial.instead,
    )  # fmt: skip


def unclaimed(engine: Engine, verdict: Verdict) -> None:
    """A lease came for a request that nobody waits for any more: give all of it back."""
    grant = verdict.lease
    if grant is None or grant.holder != engine.queue.source:
        return
    units = Units(**dict(zip(UNITS, grant.units, strict=True)))
    fields = {"agent": grant.agent, "lease": grant.lease, "left": units}
    engine.queue.put(verdict.run, make, LeaseReturned, fields)


def _paused_too_long(agent: LocalAgent) -> Decision:
    waited_ms = agent.run.policy.client.pause_max_ms
    return Decision(
        False, "deny", limit="client.pause_max_ms", instead="Stop.",
        reason=f"{agent.id} was paused for {waited_ms} ms: {agent.reason or 'no reason given'}.",
    )  # fmt: skip
