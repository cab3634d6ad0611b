"""Admission as `ledger.client` does it: leases that are spent locally, renewed and given back.

An act takes from the agent's lease without asking. Where that does not cover it a new lease is
asked for, in eighths of what the policy allows, and what no lease covers is asked for by name.
A lease that lies idle goes back; what a call in flight may spend stays set aside in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger.core import events as e
from ledger.core.shapes import Units
from ledger.core.verdicts import COUNTABLE, MODEL_CALLS, UNITS, Denial, Grant, Verdict

if TYPE_CHECKING:
    from ledger.simulate.actor import Actor

SHARES = 8
IDLE_MS = 2_000
SHORT_MS = 1_000
RETRY_MS_MAX = 250
RENEW_PER_MILLE = 700
"""As in `ledger.client`: eighths of a lease, when an idle one goes back, how long no new one is
asked for after there was not enough, which denials are waited for, when to renew."""


def units(amounts: list[int]) -> Units:
    """Amounts in the order of UNITS, as they are written."""
    return Units(**dict(zip(UNITS, amounts, strict=True)))


class Held:
    """A lease in hand: what is left of it, until when (ms), and how many calls it carries."""

    __slots__ = ("closing", "ends_ms", "few", "flying", "id", "left", "renew_ms", "used_ms")

    def __init__(self, grant: Grant, sent_ms: int) -> None:
        self.id = grant.lease
        self.left = list(grant.units)
        self.few = [amount // 4 for amount in grant.units]
        # Counted from when the request was sent, so that it ends here before it ends there.
        self.ends_ms = sent_ms + grant.ttl_ms
        self.renew_ms = sent_ms + grant.ttl_ms * RENEW_PER_MILLE // 1_000
        self.used_ms = sent_ms
        self.flying = 0
        self.closing = False


Then = Callable[[Held | None, Denial | None], None]
Named = Callable[[], Verdict | None]
"""Writes the request for one act by name."""


class Wish:
    """One act that wants to be admitted: what it needs, how it is asked for by name, what is to
    be done with the lease or the denial, and until when it is worth asking again."""

    __slots__ = ("by_name", "named", "need", "then", "unit", "until_ms")

    def __init__(
        self, unit: int, need: list[int], named: Named, then: Then, *, by_name: bool
    ) -> None:
        self.unit = unit
        self.need = need
        self.named = named
        self.then = then
        self.by_name = by_name
        self.until_ms = 0


class Purse:
    """What one process holds for one agent."""

    __slots__ = ("actor", "held", "renewing", "share", "short_until_ms")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.held: Held | None = None
        self.share = 1
        self.renewing = False
        self.short_until_ms = 0

    def ask(self, wish: Wish) -> None:
        """Admit one act."""
        wish.until_ms = self._now_ms() + self.actor.stage.policy.unreachable.wait_ms
        self._try(wish)

    def settle(self, held: Held | None, estimate: list[int], used: list[int]) -> None:
        """A call in flight ended: what it did not use of its estimate is there again."""
        if held is None:
            return
        for unit in range(COUNTABLE, len(UNITS)):
            held.left[unit] = max(0, held.left[unit] + estimate[unit] - used[unit])
        held.flying -= 1
        if held.closing and not held.flying:
            self._return(held)

    def give_back(self) -> None:
        """Return what no call in flight needs; the next lease is half as large."""
        held, self.held = self.held, None
        if held is not None:
            self.share = max(1, self.share // 2)
            self._close(held)

    # --- asking --------------------------------------------------------------------------------

    def _try(self, wish: Wish) -> None:
        if wish.by_name:
            self._by_name(wish)
        elif self._covers(wish.need):
            assert self.held is not None
            wish.then(self._take(self.held, wish), None)
        elif self.renewing:
            self._answered(lambda: self._try(wish))
        else:
            verdict = self._renew(wish.need)
            if verdict is None:
                self._by_name(wish)
            else:
                self._answered(lambda: self._got(wish))

    def _got(self, wish: Wish) -> None:
        if self._covers(wish.need):
            self._try(wish)
            return
        # What is too small for one act must not lie here while others are short for the same
        # reason: five callers with half of what is left each would all wait for all.
        self.short_until_ms = self._now_ms() + SHORT_MS
        self.give_back()
        self._by_name(wish)

    def _by_name(self, wish: Wish) -> None:
        sent_ms, verdict = self._now_ms(), wish.named()

        def got() -> None:
            if verdict is not None and verdict.lease is not None:
                held = Held(verdict.lease, sent_ms)
                if self._now_ms() < held.ends_ms:
                    held.closing = True
                    wish.then(self._take(held, wish), None)
                    return
                self._return(held)
            self._refused(wish, verdict)

        self._answered(got)

    def _refused(self, wish: Wish, verdict: Verdict | None) -> None:
        """Wait where that soon may help, or tell the agent."""
        denial = verdict.denial if verdict is not None else None
        if denial is None:
            late = "the answer came after the lease had ended."
            denial = Denial((verdict.refusal if verdict is not None else "") or late)
        if 0 < denial.retry_ms <= RETRY_MS_MAX and self._now_ms() < wish.until_ms:
            self.actor.later(denial.retry_ms, lambda: self._try(wish))
        else:
            wish.then(None, denial)

    def _renew(self, need: list[int]) -> Verdict | None:
        """Ask for a lease; None where that cannot help."""
        now_ms = self._now_ms()
        wants = self._wants(need)
        if wants is None or now_ms < self.short_until_ms:
            return None
        if self.held is not None and now_ms < self.held.renew_ms:
            self.share = min(SHARES, 2 * self.share)
        self.renewing = True
        verdict = self.actor.write(e.LeaseRequested, wants=units(wants))
        self._answered(lambda: self._hold(verdict, now_ms))
        return verdict

    def _hold(self, verdict: Verdict | None, sent_ms: int) -> None:
        self.renewing = False
        if verdict is None or verdict.lease is None or verdict.decision == "transform":
            self.short_until_ms = self._now_ms() + SHORT_MS
        if verdict is not None and verdict.lease is not None:
            before, self.held = self.held, Held(verdict.lease, sent_ms)
            self.actor.stage.lent[self.held.id] = self
            if before is not None:
                self._close(before)

    def _wants(self, need: list[int]) -> list[int] | None:
        """What to ask for, so that this act and what follows it fit."""
        lease = self.actor.stage.policy.lease
        caps = [0, lease.tool_calls, lease.model_calls, lease.tokens, lease.microdollars]
        if any(amount > cap for amount, cap in zip(need, caps, strict=True)):
            return None
        return [
            cap and max(1, amount, cap * self.share // SHARES)
            for amount, cap in zip(need, caps, strict=True)
        ]

    # --- holding -------------------------------------------------------------------------------

    def _covers(self, need: list[int]) -> bool:
        held = self.held
        return (
            held is not None
            and self._now_ms() < held.ends_ms
            and all(amount <= left for amount, left in zip(need, held.left, strict=True))
        )

    def _take(self, held: Held, wish: Wish) -> Held:
        now_ms, unit = self._now_ms(), wish.unit
        held.left = [left - amount for amount, left in zip(wish.need, held.left, strict=True)]
        held.used_ms = now_ms
        # A tool call is over for the lease once it has started.
        held.flying += unit == MODEL_CALLS
        if held is self.held:
            low = now_ms >= held.renew_ms or held.left[unit] < held.few[unit]
            if low and not self.renewing:
                self._renew(wish.need)
            world = self.actor.stage.world
            world.after(IDLE_MS, lambda: self._idle(held), only_if_awake=True)
        return held

    def _idle(self, held: Held) -> None:
        if held is self.held and not self.actor.over and self._now_ms() >= held.used_ms + IDLE_MS:
            self.give_back()

    def _close(self, held: Held) -> None:
        self.actor.stage.lent.pop(held.id, None)
        held.closing = True
        if not held.flying:
            self._return(held)
            return
        left, held.left = held.left, [0, 0, 0, 0, 0]
        self._returned(held, left, closed=False)

    def _return(self, held: Held) -> None:
        self._returned(held, held.left, closed=True)

    def _returned(self, held: Held, left: list[int], *, closed: bool) -> None:
        if self._now_ms() >= held.ends_ms:
            # What ran out gives back only what is countable.
            left = [*left[:COUNTABLE], *[0] * (len(UNITS) - COUNTABLE)]
        if any(left) and not self.actor.over:
            self.actor.write(e.LeaseReturned, lease=held.id, left=units(left), closed=closed)

    def _answered(self, do: Callable[[], None]) -> None:
        self.actor.later(self.actor.stage.world.round_trip_ms, do)

    def _now_ms(self) -> int:
        return self.actor.stage.world.now_ms
