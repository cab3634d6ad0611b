"""What the judge knows of a run: its tree, budgets, leases, latches, calls and memories.

Slotted classes, changed in place by `apply` and by nothing else. State is a cache of the
log: `codec.py` writes it down, and a version says when it must be folded again.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ledger.core import budget
from ledger.core.budget import Budget, Chain, Lease
from ledger.core.policy import AgentLimits, Policy, Rule, RunLimits

KILL, DRAIN, PAUSE = 1, 2, 4
"""Bits of a latch. A kill is never lifted; `resume` lifts the others."""

LIVE, ENDED = 0, 1

TOOL, MODEL = 0, 1

EXPIRIES_SLACK = 4


class Agent:
    """One node of the tree."""

    __slots__ = (
        "budget", "chain", "children_leased", "children_open", "contract", "depth", "id",
        "latch", "latch_below", "leases", "limits", "memory", "number", "parent", "role",
        "source", "status",
    )  # fmt: skip

    def __init__(
        self, id: str, parent: Agent | None, role: str, source: str, limits: AgentLimits, slots: int
    ) -> None:
        self.id = id
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.role = role
        self.source = source
        self.limits = limits
        self.number = 0
        self.status = LIVE
        self.latch = 0
        self.latch_below = 0
        self.leases: tuple[str, ...] = ()
        self.children_open = 0
        self.children_leased = 0
        self.budget = budget.of_agent(limits)
        self.contract: Budget | None = None
        self.chain: Chain = ()
        self.memory: list[Any] = [None] * slots

    def link(self, run: Run) -> None:
        """Set the chain of budgets that every act of this agent is counted at."""
        above = (run.budget,) if self.parent is None else self.parent.chain[1:]
        own = (self.budget,) if self.contract is None else (self.budget, self.contract)
        self.chain = own + above


class Call:
    """A tool call or a model call in flight; a model call with its estimates."""

    __slots__ = ("agent", "fp", "kind", "lease", "microdollars", "name", "tokens")

    def __init__(
        self,
        agent: str,
        kind: int,
        name: str,
        fp: int,
        lease: str,
        tokens: int = 0,
        microdollars: int = 0,
    ) -> None:
        self.agent = agent
        self.kind = kind
        self.name = name
        self.fp = fp
        self.lease = lease
        self.tokens = tokens
        self.microdollars = microdollars


class Order:
    """An order and who has yet to answer it: `waiting` maps a holder to when its leases end."""

    __slots__ = (
        "acted_after", "action", "agent", "at_ms", "id", "microdollars_after", "offset", "quiet",
        "scope", "waiting",
    )  # fmt: skip

    def __init__(
        self, id: str, action: str, scope: str, agent: str, offset: int, at_ms: int
    ) -> None:
        self.id = id
        self.action = action
        self.scope = scope
        self.agent = agent
        self.offset = offset
        self.at_ms = at_ms
        self.waiting: dict[str, int] = {}
        self.quiet = False
        self.acted_after = 0
        self.microdollars_after = 0


class Run:
    """One run, whole."""

    __slots__ = (
        "active_ms", "agents", "budget", "calls", "calls_open_max", "deadline_ms", "effort",
        "ended_ms", "expiries", "gaps", "handoffs", "id", "jumped_ms", "latch", "latched", "leases",
        "limits", "live", "live_leased", "memory", "names", "now_ms", "observed", "offset",
        "orders", "partition", "policy", "repeats", "rules", "sources", "spoken", "status",
        "tenant", "unadmitted",
    )  # fmt: skip

    def __init__(
        self, id: str, policy: Policy, tenant: str, effort: str, observed: bool, slots: int
    ) -> None:
        self.id = id
        self.policy = policy
        self.tenant = tenant
        self.effort = effort
        self.observed = observed
        self.limits: RunLimits = policy.for_run(tenant, effort)
        self.rules: tuple[Rule, ...] = ()
        self.calls_open_max: int = policy.memory.calls_open_max
        self.budget = budget.of_run(self.limits)
        self.agents: dict[str, Agent] = {}
        self.names: list[str] = []
        self.sources: dict[str, int] = {}
        self.leases: dict[str, Lease] = {}
        self.expiries: list[str] = []
        self.calls: dict[str, Call] = {}
        self.handoffs: dict[str, list[str]] = {}
        self.orders: dict[str, Order] = {}
        self.latch = 0
        self.latched: dict[str, list[int]] = {}
        self.live = 0
        self.live_leased = 0
        self.partition = 0
        self.offset = -1
        self.now_ms = 0
        self.active_ms = 0
        self.deadline_ms = 0
        self.jumped_ms = 0
        self.status = LIVE
        self.ended_ms = 0
        self.gaps = 0
        self.repeats = 0
        self.unadmitted = 0
        self.spoken: dict[str, int] = {}
        self.memory: list[Any] = [None] * slots

    def add(self, agent: Agent) -> None:
        """Put the agent into the tree; its number is its place in `names`."""
        agent.link(self)
        agent.number = len(self.names)
        self.names.append(agent.id)
        self.agents[agent.id] = agent

    def expect(self, lease: Lease) -> None:
        """Put the lease where it belongs in `expiries`: leases by their end, the gone among them.

        As a rule that is behind all others, because leases of one policy last equally long.
        """
        leases, expiries = self.leases, self.expiries
        while expiries and expiries[-1] not in leases:
            expiries.pop()
        early = expiries and leases[expiries[-1]].expires_ms > lease.expires_ms
        expiries.append(lease.id)
        if early or len(expiries) > len(leases) + (len(leases) >> 2) + EXPIRIES_SLACK:
            open_ = [held for held in leases.values() if not held.forfeit]
            self.expiries = [held.id for held in sorted(open_, key=_end)]

    def next_expiry(self) -> Lease | None:
        """The lease that ends next; None: none is open."""
        expiries, gone, lease = self.expiries, 0, None
        for lease_id in expiries:
            lease = self.leases.get(lease_id)
            if lease is not None and not lease.forfeit:
                break
            gone, lease = gone + 1, None
        del expiries[:gone]
        return lease


_end = attrgetter("expires_ms")


class State:
    """What the judge of one partition knows: its runs, the policies they name, who ended."""

    __slots__ = ("ended", "latched", "partition", "policies", "runs")

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.runs: dict[str, Run] = {}
        self.policies: dict[str, Policy] = {}
        self.ended: dict[str, int] = {}
        self.latched: dict[str, int] = {}
