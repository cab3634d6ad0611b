"""Leases that this process holds: spent here, atomically, without asking anybody.

What a newcomer would get wrong
    A lease ends a length of time after its request was *sent*, on a clock that runs through
    suspend, and that is looked at right before each act. It covers this process only.
    Countable units never come back by themselves: what is left is returned by an event that
    stands behind the last act (PROTOCOLS 3). Tokens of calls in flight stay set aside until
    the call ended, so the lease is closed after it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ledger.client.drafts import make
from ledger.client.queue import Build, Queue
from ledger.client.waiter import Waiter
from ledger.core.events import LeaseReturned
from ledger.core.shapes import Units
from ledger.core.state import KILL, PAUSE
from ledger.core.verdicts import MICRODOLLARS, SPAWNS, TOKENS, UNITS, Grant, Verdict

if TYPE_CHECKING:
    from ledger.client.local import LocalAgent
    from ledger.client.verdicts import Asked

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_clock = time.clock_gettime_ns
HELD = KILL | PAUSE
"""Bits of a latch under which nothing is begun."""
SHARES = 8
"""A lease is asked for in eighths of what the policy allows; how many follows use."""
IDLE_NS = 2_000_000_000
"""A lease that nothing was taken from for so long goes back: others may be short."""
RECALL_IDLE_NS = 20_000_000
"""A lease that is recalled and was not used for so long goes back whole."""
REFUSED_NS = 1_000_000_000
"""How long no new lease is asked for after the judge had not enough to give."""


def boottime_ns() -> int:
    """Nanoseconds since this machine started, time in suspend included."""
    return _clock(_BOOTTIME)


class HeldLease:
    """Units that may be used until `ends_ns`; `open_acts` will still settle here."""

    __slots__ = (
        "closing", "ends_ns", "few", "id", "left", "low", "open_acts", "renew_ns", "used_ns",
    )  # fmt: skip

    def __init__(self, grant: Grant, sent_ns: int) -> None:
        self.id = grant.lease
        self.left = list(grant.units)
        # Half of it or less, or three tenths of its time are left: `low`, ask for more.
        self.few = [units // 2 for units in grant.units]
        self.low = False
        self.ends_ns = sent_ns + grant.ttl_ms * 1_000_000
        self.renew_ns = sent_ns + grant.ttl_ms * 700_000
        self.used_ns = sent_ns
        self.open_acts = 0
        self.closing = False


def take(
    agent: LocalAgent, unit: int, tokens: int, microdollars: int,
    queue: Queue, build: Build | None, rest: tuple[Any, ...], *, pledged: bool = False,
) -> HeldLease | None:  # fmt: skip
    """Spend one act from the agent's lease, its estimates set aside, and record that it started
    with `build(run, lease, *rest)`; None where the lease does not cover it.

    `tokens` is -1 for what is no model call. Without `build` nothing is recorded here. A model
    call, and what is `pledged`, keeps the lease open until `settle`.
    """
    # The record goes down under the lock, so that no return of the lease gets before it, and no
    # receipt of an order: who receipts takes the lock after the order's bits are set.
    with agent.lock:
        lease = agent.lease
        if lease is None or agent.bits & HELD:
            return None
        now = _clock(_BOOTTIME)
        left = lease.left
        if now >= lease.ends_ns or left[unit] < 1:
            return None
        if tokens >= 0:
            if left[TOKENS] < (tokens or 1) or left[MICRODOLLARS] < microdollars:
                return None
            left[TOKENS] -= tokens
            left[MICRODOLLARS] -= microdollars
            lease.low = left[TOKENS] < lease.few[TOKENS]
        left[unit] -= 1
        lease.used_ns = now
        if left[unit] < lease.few[unit] or now >= lease.renew_ns:
            lease.low = True
        if tokens >= 0 or pledged:
            lease.open_acts += 1
        if build is not None:
            queue.put(agent.run.id, build, lease.id, *rest)
        return lease


def settle(
    agent: LocalAgent, lease: HeldLease, queue: Queue, *,
    estimated: tuple[int, int], used: tuple[int, int],
) -> None:  # fmt: skip
    """A model call ended, and is recorded: give back what it did not need of its estimates, or
    take the rest. A lease that waited for its last act is returned then."""
    with agent.lock:
        for unit, before, after in zip((TOKENS, MICRODOLLARS), estimated, used, strict=True):
            lease.left[unit] = max(0, lease.left[unit] + before - after)
        lease.open_acts -= 1
        if lease.closing and lease.open_acts == 0:
            _return(agent, lease, queue)


def hold(agent: LocalAgent, grant: Grant, sent_ns: int, queue: Queue) -> HeldLease:
    """Make a granted lease the agent's; what is left of the one before goes back."""
    lease = HeldLease(grant, sent_ns)
    with agent.lock:
        before, agent.lease = agent.lease, lease
        if before is not None:
            _close(agent, before, queue)
    return lease


def single(grant: Grant, sent_ns: int) -> HeldLease:
    """A lease that was granted for one act, which has taken all of it."""
    lease = HeldLease(grant, sent_ns)
    lease.left = [0] * len(UNITS)
    lease.open_acts, lease.closing = 1, True
    return lease


def give_back(agent: LocalAgent, queue: Queue, *, idle_ns: int = 0) -> bool:
    """Return the agent's lease (with `idle_ns`: only one unused for that long)."""
    with agent.lock:
        lease = agent.lease
        if lease is None or (idle_ns and boottime_ns() - lease.used_ns < idle_ns):
            return False
        agent.lease = None
        agent.share = max(1, agent.share // 2)
        _close(agent, lease, queue)
        return True


def recall(agent: LocalAgent, lease_id: str, queue: Queue) -> None:
    """Somebody is short of what this lease holds: return all of it, or, where it is in use right
    now, half of what is left."""
    if give_back(agent, queue, idle_ns=RECALL_IDLE_NS):
        return
    with agent.lock:
        lease = agent.lease
        if lease is None or lease.id != lease_id:
            return
        agent.share = max(1, agent.share // 2)
        half = [units // 2 for units in lease.left]
        lease.left = [units - back for units, back in zip(lease.left, half, strict=True)]
        lease.few = [units // 2 for units in lease.left]
        if any(half):
            queue.put(agent.run.id, make, LeaseReturned, _returned(agent, lease.id, half, False))


def _close(agent: LocalAgent, lease: HeldLease, queue: Queue) -> None:
    """Return what is left now; with calls in flight, the lease itself later."""
    lease.closing = True
    if lease.open_acts == 0:
        _return(agent, lease, queue)
        return
    left, lease.left = lease.left, [0] * len(UNITS)
    if any(left):
        queue.put(agent.run.id, make, LeaseReturned, _returned(agent, lease.id, left, False))


def _return(agent: LocalAgent, lease: HeldLease, queue: Queue) -> None:
    if any(lease.left):  # Otherwise it is over already.
        queue.put(agent.run.id, make, LeaseReturned, _returned(agent, lease.id, lease.left, True))


def _returned(agent: LocalAgent, lease: str, left: list[int], closed: bool) -> dict[str, object]:
    units = Units(**dict(zip(UNITS, left, strict=True)))
    return {"agent": agent.id, "lease": lease, "left": units, "closed": closed}


class LeaseRequest:
    """A lease on its way: whoever needs it waits on one of `waiters`; nobody need wait."""

    __slots__ = ("agent", "asked", "queue", "sent_ns", "waiters")

    def __init__(self, agent: LocalAgent, queue: Queue) -> None:
        self.agent, self.queue = agent, queue
        self.sent_ns = boottime_ns()
        self.waiters: list[Waiter] = []
        self.asked: Asked | None = None

    def settle(self, verdict: Verdict) -> bool:
        """The judge answered: hold what it gave, and let those who wait look again. True."""
        agent = self.agent
        grant = verdict.lease
        if grant is not None:
            hold(agent, grant, self.sent_ns, self.queue)
            if agent.bits & KILL:
                give_back(agent, self.queue)
        self.done(short=grant is None or verdict.decision == "transform")
        return True

    def join(self, waiter: Waiter) -> None:
        """Settle `waiter` when this is answered, or now if it was."""
        with self.agent.lock:
            if self.agent.renewing is self:
                self.waiters.append(waiter)
                return
        waiter.settle(True)

    def done(self, *, short: bool) -> None:
        """No longer on its way."""
        agent = self.agent
        with agent.lock:
            if short:
                agent.denied_until_ns = boottime_ns() + REFUSED_NS
            if agent.renewing is self:
                agent.renewing = None
            waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.settle(True)


def wants(agent: LocalAgent, unit: int, tokens: int, microdollars: int) -> Units | None:
    """What to ask for, so that this act and what follows it fit; None where no lease can cover
    the act: it is asked for by name."""
    caps = agent.run.policy.lease
    # Places for children only when one is wanted: they are few, and others may need them.
    spawns = caps.spawns if unit == SPAWNS else 0
    most = (spawns, caps.tool_calls, caps.model_calls, caps.tokens, caps.microdollars)
    needs = [0, 0, 0, max(0, tokens), max(0, microdollars)]
    needs[unit] = 1
    if any(need > cap for need, cap in zip(needs, most, strict=True)):
        return None
    sized = [cap and max(1, need, cap * agent.share // SHARES)
             for need, cap in zip(needs, most, strict=True)]  # fmt: skip
    return Units(**dict(zip(UNITS, sized, strict=True)))
