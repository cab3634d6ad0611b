"""Budgets and leases: what may be used, what is set aside, what is gone.

`granted == available + reserved + spent` at every budget, always: `available` is derived.
An act is counted at its agent's own budget, at every contract budget above it, and at the
run's: its `chain`. A child process that starts fresh counters changes nothing here.

What a newcomer would get wrong
    A lease that runs out gives tokens and money back, never what is countable: its holder
    may have used that and not yet said so. It is counted as spent, and late acts settle
    against it (PROTOCOLS 3).
    Acts that nobody admitted are counted too, and can take `available` below zero.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache

from ledger.core.policy import AgentLimits, RunLimits
from ledger.core.shapes import Units
from ledger.core.verdicts import COUNTABLE, MICRODOLLARS, TOKENS, UNITS

UNLIMITED = 2**53 - 1
SPENT = len(UNITS)
_NOTHING = array("q", [0] * 2 * SPENT)
# To be copied: a slice is allocated to size, an array made of bytes with 60 bytes to spare.

CEILING = 2**61
"""Counting stops here: sums of what foreign publishers claim must not overflow 64 bits."""


class Budget:
    """Amounts in the order of `verdicts.UNITS`: `used` holds what is taken, then what is spent.

    Taken is what is reserved or spent: so an act under a lease moves one number a budget.
    `granted` is shared by all budgets under the same limits.
    """

    __slots__ = ("granted", "used")

    def __init__(self, granted: tuple[int, ...]) -> None:
        self.granted = granted
        self.used = _NOTHING[:]

    def reserved(self, unit: int) -> int:
        """What is set aside and not yet used."""
        return self.used[unit] - self.used[SPENT + unit]

    def spent(self, unit: int) -> int:
        """What is gone."""
        return self.used[SPENT + unit]

    def available(self, unit: int) -> int:
        """What may still be reserved."""
        return self.granted[unit] - self.used[unit]


Chain = tuple[Budget, ...]


def of_run(limits: RunLimits) -> Budget:
    """The budget of a whole run."""
    return Budget(limits.granted)


def of_agent(limits: AgentLimits) -> Budget:
    """The budget of one agent's own acts."""
    return Budget(limits.granted)


@lru_cache(maxsize=1024)
def shared(granted: tuple[int, ...]) -> tuple[int, ...]:
    """The same tuple for equal ones."""
    return granted


def of_contract(units: Units) -> Budget:
    """The ceiling that a contract puts on an agent and all below it; 0 sets no ceiling."""
    return Budget(tuple(getattr(units, name) or UNLIMITED for name in UNITS))


def amounts(units: Units) -> list[int]:
    """The units as a list in the order of UNITS."""
    return [
        units.spawns,
        units.tool_calls,
        units.model_calls,
        units.tokens,
        units.microdollars,
    ]


def narrowest(chain: Chain, unit: int) -> tuple[int, int]:
    """What the chain leaves of the unit, and the place in the chain of the budget that says so."""
    least, place = UNLIMITED, 0
    for i, budget in enumerate(chain):
        available = budget.granted[unit] - budget.used[unit]
        if available < least:
            least, place = available, i
    return least, place


def spend(chain: Chain, unit: int, amount: int) -> None:
    """Count what was used without having been set aside."""
    for budget in chain:
        used = budget.used
        counted = min(amount, CEILING - used[SPENT + unit])
        used[unit] += counted
        used[SPENT + unit] += counted


class Lease:
    """Units set aside for one agent, held by one process until `expires_ms` of the run's clock.

    `left` is what the fold has not seen used. Once `forfeit`, the countable part of `left`
    is counted as spent already. `tokens_busy` and `microdollars_busy` are the estimates of
    model calls in flight under it.
    """

    __slots__ = (
        "agent", "expires_ms", "forfeit", "holder", "id", "left", "microdollars_busy",
        "tokens_busy",
    )  # fmt: skip

    def __init__(self, id: str, agent: str, holder: str, left: array[int], expires_ms: int) -> None:
        self.id = id
        self.agent = agent
        self.holder = holder
        self.left = left
        self.expires_ms = expires_ms
        self.forfeit = False
        self.tokens_busy = 0
        self.microdollars_busy = 0


def set_aside(chain: Chain, units: Sequence[int]) -> None:
    """Reserve units along the chain."""
    for unit, amount in enumerate(units):
        if amount:
            for budget in chain:
                budget.used[unit] += amount


def use(lease: Lease, chain: Chain, unit: int, amount: int) -> None:
    """Turn `amount` of tokens or money into spent; what the lease does not cover was not set
    aside."""
    left = lease.left[unit]
    covered = amount if amount < left else left
    lease.left[unit] = left - covered
    for budget in chain:
        budget.used[SPENT + unit] += covered
    if covered < amount:
        spend(chain, unit, amount - covered)


def give_back(lease: Lease, chain: Chain, units: Sequence[int]) -> list[int]:
    """The holder will not use these: return them; gives what really came back.

    After a forfeit the countable part comes back from spent, because the holder says,
    after its last act, that it did not use it.
    """
    back = [min(amount, left) for amount, left in zip(units, lease.left, strict=True)]
    for unit, amount in enumerate(back):
        if amount == 0 or (lease.forfeit and unit >= COUNTABLE):
            continue  # Once it ran out only calls in flight hold tokens, and they are not returned.
        lease.left[unit] -= amount
        for budget in chain:
            budget.used[unit] -= amount
            if lease.forfeit:
                budget.used[SPENT + unit] -= amount
    return back


def forfeit(lease: Lease, chain: Chain) -> None:
    """The lease ran out: the countable part is counted as spent, the rest comes back.

    What calls in flight were estimated at stays reserved until they end: a model call outlives
    its lease as a rule, and its tokens must not be given to another meanwhile.
    """
    if not lease.forfeit:
        lease.forfeit = True
        for unit in range(COUNTABLE):
            amount = lease.left[unit]
            if amount:
                for budget in chain:
                    budget.used[SPENT + unit] += amount
    release_idle(lease, chain)


def release_idle(lease: Lease, chain: Chain) -> None:
    """Give back the tokens and the money that no call in flight was estimated at."""
    for unit, busy in ((TOKENS, lease.tokens_busy), (MICRODOLLARS, lease.microdollars_busy)):
        idle = lease.left[unit] - busy
        if idle > 0:
            lease.left[unit] = busy
            for budget in chain:
                budget.used[unit] -= idle
