"""What this process knows of its runs and agents: orders on them, leases, what is in flight.

What a newcomer would get wrong
    `bits` of an agent are all that holds it: the run's latch, its own, and those laid on the
    subtrees it stands in. They are computed when an order comes, and only looked at by a call.
    This mirrors `ledger.core.orders`, for the agents of one process and by ids alone: an order
    may name an agent that nobody announced yet.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ledger.core.orders import BITS
from ledger.core.state import DRAIN, KILL, PAUSE

if TYPE_CHECKING:
    from ledger.client.leases import HeldLease, LeaseRequest
    from ledger.client.waiter import Waiter
    from ledger.core.policy import Policy

ORDERS_MAX = 1_024
ENDS_MAX = 256
"""Ended model calls remembered for receipts."""


class LocalAgent:
    """One agent, as this process knows it. `path` are its ancestors' ids, the lead's first."""

    __slots__ = (
        "bits", "calls", "denied_until_ns", "denies", "handles", "id", "lease", "lock",
        "order", "path", "reason", "renewing", "run", "share", "tasks", "waiters",
    )  # fmt: skip

    def __init__(self, run: LocalRun, id: str, path: tuple[str, ...]) -> None:
        self.run, self.id, self.path = run, id, path
        self.bits = 0
        self.order = ""
        self.reason = ""
        self.denies: dict[tuple[str, str], frozenset[int]] = {}
        self.calls: dict[str, Any] = {}
        self.tasks: list[Any] = []
        self.waiters: set[Waiter] = set()
        self.start_over()

    def start_over(self) -> None:
        """Hold nothing: a forked child has no lease, no call and no lock of its parent's."""
        self.lock = threading.Lock()
        self.lease: HeldLease | None = None
        self.renewing: LeaseRequest | None = None
        self.denied_until_ns = 0
        self.share = 2
        self.handles = 0
        self.calls.clear()
        self.tasks.clear()
        self.waiters.clear()


class LocalRun:
    """One run, as this process knows it, with the policy it is judged by."""

    __slots__ = (
        "agents", "capture", "ended", "ends", "id", "latch", "latched", "lock", "names",
        "orders", "owned", "policy", "refusal",
    )  # fmt: skip

    def __init__(self, id: str, policy: Policy, *, owned: bool) -> None:
        self.id, self.policy, self.owned = id, policy, owned
        self.lock = threading.Lock()
        client = policy.client
        self.capture = client.capture_bytes_max if client.capture == "payloads" else 0
        self.agents: dict[str, LocalAgent] = {}
        self.latch = 0
        self.latched: dict[str, list[int]] = {}
        self.orders: dict[str, tuple[int, str, str]] = {}
        self.refusal = ""
        self.ended = False
        self.names: dict[str, int] = {}
        self.ends: deque[tuple[int, str, int, int]] = deque(maxlen=ENDS_MAX)

    @property
    def over(self) -> bool:
        """Whether nobody here acts in it: it has ended, or all who joined it have left."""
        return self.ended or not (self.owned or self.agents)

    def start_over(self) -> None:
        """In a forked child: its agents hold nothing, what was ordered holds on."""
        self.lock = threading.Lock()
        for agent in self.agents.values():
            agent.start_over()

    def agent(self, id: str, path: tuple[str, ...]) -> LocalAgent:
        """The agent, made known here, under the orders that hold it already."""
        found = self.agents.get(id)
        if found is None:
            with self.lock:  # Else an order that comes in between could be written over.
                found = self.agents.setdefault(id, LocalAgent(self, id, path))
                self._hold(found)
        return found

    def forget(self, agent: LocalAgent) -> None:
        """The agent is over, unless somebody here still acts as it."""
        if agent.handles <= 0:
            self.agents.pop(agent.id, None)

    def order(self, id: str, action: str, scope: str, agent: str, reason: str) -> bool:
        """Lay an order on the run; False when it was laid before."""
        with self.lock:
            if id in self.orders:
                return False
            self._order(id, action, scope, agent, reason)
        return True

    def _order(self, id: str, action: str, scope: str, agent: str, reason: str) -> None:
        bit = BITS[action]
        keep = KILL if action == "resume" else KILL | DRAIN | PAUSE
        if scope == "run":
            self.latch = self.latch & keep | bit
            if action == "resume":
                for held in self.latched.values():
                    held[0] &= KILL
                    held[1] &= KILL
        else:
            held = self.latched.setdefault(agent, [0, 0])
            held[0] = held[0] & keep | bit
            if scope == "subtree":
                held[1] = held[1] & keep | bit
        self.orders[id] = (bit, agent, reason)
        while len(self.orders) > ORDERS_MAX:
            del self.orders[next(iter(self.orders))]
        for local in tuple(self.agents.values()):
            before = local.bits
            self._hold(local)
            if local.bits & ~before:
                local.order, local.reason = id, reason

    def in_scope(self, scope: str, agent: str) -> list[LocalAgent]:
        """The agents here that an order of this scope covers."""
        return [
            local
            for local in tuple(self.agents.values())
            if scope == "run" or local.id == agent or (scope == "subtree" and agent in local.path)
        ]

    def _hold(self, local: LocalAgent) -> None:
        none = (0, 0)
        bits = self.latch
        if self.latched:
            bits |= self.latched.get(local.id, none)[0]
            for above in local.path:
                bits |= self.latched.get(above, none)[1]
        if bits and not local.order:
            for id, (bit, _, reason) in self.orders.items():
                if bit & bits:
                    local.order, local.reason = id, reason
        local.bits = bits
