"""Admission as a client does it: leases that are spent locally, renewed, and given back.

An agent has a purse for tool calls and one for model calls. An act takes from the purse
without asking; an empty one is filled anew, twice as full as before, and one that lies idle is
given back, to be half as full the next time.
What a lease cannot cover is asked for by name. A lease that ends while its call is in flight
is followed by another, so that what the call will spend stays set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger.core import events as e
from ledger.core.shapes import Units
from ledger.core.verdicts import COUNTABLE, MODEL_CALLS, TOOL_CALLS, UNITS, Denial, Grant, Verdict

if TYPE_CHECKING:
    from ledger.simulate.actor import Actor

Then = Callable[[str, Denial | None], None]
Named = Callable[[], Verdict | None]
"""Writes the request for one act by name."""
ACTS_MAX = 32
"""The most acts that a lease is asked for. The first is for one: what a newcomer holds idle,
others lack."""
TRIES_MAX = 5
"""How often a client asks again by itself when told that it may help."""
KEEP_PER_MILLE = 750
"""The share of a lease's life after which its holder renews or returns it."""


def units(amounts: list[int]) -> Units:
    """Amounts in the order of UNITS, as they are written."""
    return Units(**dict(zip(UNITS, amounts, strict=True)))


class Purse:
    """What one process holds for one agent and one kind of act."""

    __slots__ = ("acts", "actor", "flying", "lease", "left", "spare", "until_ms")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.lease = ""
        self.left = [0, 0, 0, 0, 0]
        self.until_ms = 0
        self.acts = 1
        self.flying: list[int] | None = None
        self.spare: Purse | None = None

    def ask(self, need: list[int], named: Named, then: Then, tries: int = TRIES_MAX) -> None:
        """Admit one act of `need`; `named` asks for it alone."""
        if self._covers(need):
            then(self._take(need), None)
            return
        if self.lease and self._fresh():
            self.acts = min(2 * self.acts, ACTS_MAX)
        self.close()
        if self.actor.stage.scenario.by_name:
            self._by_name(need, named, then, tries)
            return
        wants = [amount * self.acts for amount in need]
        verdict = self.actor.write(e.LeaseRequested, wants=units(wants))
        self._later(lambda: self._got(verdict, need, named, then, tries))

    def settle(self, actual: list[int]) -> None:
        """The call in flight ended: what it did not use of its estimate is there again."""
        flying, self.flying = self.flying, None
        if self.spare is not None:
            self.spare.close()
            self.spare = None
        if flying is None or not self.lease:
            return
        for unit in range(COUNTABLE, len(UNITS)):
            self.left[unit] = max(0, self.left[unit] + flying[unit] - actual[unit])
        if self.actor.stage.scenario.by_name:
            self.close()

    def close(self) -> None:
        """Give back what is left. What ran out gives back only what is countable."""
        lease, left = self.lease, self.left
        self.lease, self.left = "", [0, 0, 0, 0, 0]
        if not lease:
            return
        if self.until_ms <= self.actor.stage.world.now_ms:
            left = [*left[:COUNTABLE], 0, 0]
        if any(left):
            self.actor.write(e.LeaseReturned, lease=lease, left=units(left))

    # --- filling -------------------------------------------------------------------------------

    def _covers(self, need: list[int]) -> bool:
        fits = all(a <= b for a, b in zip(need, self.left, strict=True))
        return fits and bool(self.lease) and self._fresh()

    def _fresh(self) -> bool:
        return self.actor.stage.world.now_ms < self.until_ms

    def _take(self, need: list[int]) -> str:
        self.left = [b - a for a, b in zip(need, self.left, strict=True)]
        self.flying = need
        return self.lease

    def _fill(self, grant: Grant) -> None:
        world = self.actor.stage.world
        self.lease, self.left = grant.lease, list(grant.units)
        # Counted from when the request was sent, so that it ends here before it ends there.
        self.until_ms = world.now_ms - world.round_trip_ms + grant.ttl_ms
        world.after(grant.ttl_ms * KEEP_PER_MILLE // 1_000, lambda: self._keep(grant.lease))

    def _got(
        self, verdict: Verdict | None, need: list[int], named: Named, then: Then, tries: int
    ) -> None:
        grant = verdict.lease if verdict is not None else None
        if grant is None:
            self._denied(verdict, need, named, then, tries)
            return
        self._fill(grant)
        if self._covers(need):
            then(self._take(need), None)
            return
        self.close()
        self._by_name(need, named, then, tries)

    def _by_name(self, need: list[int], named: Named, then: Then, tries: int) -> None:
        verdict = named()

        def got() -> None:
            if verdict is None or verdict.lease is None:
                self._denied(verdict, need, named, then, tries)
                return
            self._fill(verdict.lease)
            then(self._take(need), None)

        self._later(got)

    def _denied(
        self, verdict: Verdict | None, need: list[int], named: Named, then: Then, tries: int
    ) -> None:
        denial = verdict.denial if verdict is not None else None
        if denial is None:
            denial = Denial(verdict.refusal if verdict is not None else "nobody answered")
        if denial.retry_ms and tries > 1:
            self.actor.later(denial.retry_ms, lambda: self.ask(need, named, then, tries - 1))
            return
        then("", denial)

    def _later(self, do: Callable[[], None]) -> None:
        self.actor.later(self.actor.stage.world.round_trip_ms, do)

    # --- keeping -------------------------------------------------------------------------------

    def _keep(self, lease: str) -> None:
        """The lease nears its end: give back what lies idle, renew what is in flight."""
        if lease != self.lease or self.actor.over:
            return
        if self.flying is None:
            self.acts = max(1, self.acts // 2)
            self.close()
            return
        if any(self.left):
            self.actor.write(e.LeaseReturned, lease=lease, left=units(self.left), closed=False)
            self.left = [0, 0, 0, 0, 0]
        in_flight = [*[0] * COUNTABLE, *self.flying[COUNTABLE:]]
        if any(in_flight):
            self._renew(in_flight)

    def _renew(self, in_flight: list[int]) -> None:
        verdict = self.actor.write(e.LeaseRequested, wants=units(in_flight))
        before, self.spare = self.spare, None

        def got() -> None:
            if verdict is None or verdict.lease is None:
                return
            spare = Purse(self.actor)
            spare.lease, spare.left = verdict.lease.lease, list(verdict.lease.units)
            world = self.actor.stage.world
            spare.until_ms = world.now_ms - world.round_trip_ms + verdict.lease.ttl_ms
            if self.flying is None:
                spare.close()
                return
            self.spare = spare
            again_ms = verdict.lease.ttl_ms * KEEP_PER_MILLE // 1_000
            world.after(again_ms, lambda: self._renew_again(spare, in_flight))

        if before is not None:
            before.close()
        self._later(got)

    def _renew_again(self, spare: Purse, in_flight: list[int]) -> None:
        if self.spare is spare and self.flying is not None and not self.actor.over:
            self._renew(in_flight)


TOOLS, MODELS = TOOL_CALLS, MODEL_CALLS
"""The two purses of an agent are kept under these units."""
