"""The slow twin: a run's budgets, leases, tree and kills, counted from the whole history.

Nothing here is kept from one step to the next and nothing is shared with the fold: facts are
written into plain lists, and every sum is taken over all of them. It knows what was decided only
from the verdicts, and checks what must follow from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.core import events as e
from ledger.core.events import Record
from ledger.core.policy import Policy
from ledger.core.verdicts import UNITS, Verdict

SPAWNS, TOOL_CALLS, MODEL_CALLS, TOKENS, MICRODOLLARS = range(5)


@dataclass
class Member:
    """An agent: who started it, whose process it lives in, and its contract's ceilings."""

    parent: str
    source: str
    live: bool = True
    contract: bool = False


@dataclass
class Held:
    """A lease, as its history tells it."""

    agent: str
    holder: str
    left: list[int]
    expires_ms: int
    ran_out: bool = False
    forfeited: list[int] = field(default_factory=lambda: [0] * 5)


@dataclass
class InFlight:
    """A call that started and did not end."""

    agent: str
    lease: str
    tokens: int
    microdollars: int


class Twin:
    """One run, told from its first record to its last."""

    def __init__(self, run: str, policy: Policy) -> None:
        self.run, self.policy = run, policy
        self.started = self.over = self.forgotten = False
        self.now_ms = self.active_ms = self.ended_ms = 0
        self.heard: dict[str, int] = {}
        self.members: dict[str, Member] = {}
        self.leases: dict[str, Held] = {}
        self.calls: dict[str, InFlight] = {}
        self.acts: list[tuple[str, int, int]] = []
        self.forfeits: list[tuple[str, list[int]]] = []
        self.kills: list[tuple[str, str, str]] = []

    # --- what is asked -----------------------------------------------------------------------

    def above(self, agent: str) -> list[str]:
        """The agent and its ancestors."""
        line = [agent]
        while self.members[line[-1]].parent:
            line.append(self.members[line[-1]].parent)
        return line

    def below(self, agent: str) -> set[str]:
        """The agent and its descendants."""
        return {name for name in self.members if agent in self.above(name)}

    def reserved(self, agents: set[str]) -> list[int]:
        """What the open leases of these agents set aside."""
        sums = [0] * 5
        for held in self.leases.values():
            for unit, left in enumerate(held.left):
                if held.agent in agents and (unit >= TOKENS or not held.ran_out):
                    sums[unit] += left
        return sums

    def spent(self, agents: set[str]) -> list[int]:
        """What these agents did, and what was set aside for them and never came back."""
        sums = [0] * 5
        for agent, unit, amount in self.acts:
            sums[unit] += amount if agent in agents else 0
        for agent, units in self.forfeits:
            for unit, amount in enumerate(units):
                sums[unit] += amount if agent in agents else 0
        for held in self.leases.values():
            if held.ran_out and held.agent in agents:
                for unit in (SPAWNS, TOOL_CALLS, MODEL_CALLS):
                    sums[unit] += held.left[unit]
        return sums

    def live(self) -> int:
        """Agents alive."""
        return sum(member.live for member in self.members.values())

    def open_children(self, agent: str) -> int:
        """Children of the agent that are alive."""
        return sum(m.live and m.parent == agent for m in self.members.values())

    def promised(self, agents: set[str]) -> int:
        """Places for children that leases of these agents hold."""
        return sum(held.left[SPAWNS] for held in self.leases.values() if held.agent in agents)

    def killed(self, agent: str) -> bool:
        """Whether an order or a rule killed it, or an ancestor with all below."""
        return any(self.covers(agent, scope, target) for _, scope, target in self.kills)

    def covers(self, agent: str, scope: str, target: str) -> bool:
        """Whether an order of this scope and target is about the agent."""
        if scope == "subtree":
            return target in self.above(agent)
        return scope == "run" or target == agent

    # --- what is told ------------------------------------------------------------------------

    def tell(self, record: Record, verdict: Verdict | None) -> None:
        """One more record, with what was said of it."""
        event = record.event
        if self.forgotten:
            return
        if isinstance(event, e.RunStarted) and not self.started:
            self._start(record, event)
            return
        if not self.started or self._repeated(event):
            return
        self.now_ms = max(self.now_ms, record.append_ms)
        jumped = verdict is not None and any(f.name == "clock_jump" for f in verdict.findings)
        if not jumped:
            self._run_out()
        if verdict is not None and verdict.refusal:
            return
        self._happen(event)
        if verdict is not None:
            self._decided(verdict)
        if isinstance(event, e.Ticked):
            self._tick()
        else:
            self.active_ms = self.now_ms

    def _start(self, record: Record, event: e.RunStarted) -> None:
        self.started = True
        self.now_ms = self.active_ms = record.append_ms
        if event.seq:
            self.heard[event.source] = event.seq
        self.members[event.agent] = Member("", event.source)
        self.acts.append(("", SPAWNS, 1))  # The lead counts at the run, and at nobody else.

    def _repeated(self, event: e.Event) -> bool:
        if not event.seq:
            return False
        last = self.heard.get(event.source, 0)
        if event.seq <= last:
            return True
        new = last == 0
        if not new or (event.seq == 1 and len(self.heard) < self.policy.memory.sources_max):
            self.heard[event.source] = event.seq
        return False

    def _run_out(self) -> None:
        for lease_id, held in tuple(self.leases.items()):
            if held.expires_ms <= self.now_ms and not held.ran_out:
                held.ran_out = True
                self._only_busy(lease_id, held)
                self._close_if_empty(lease_id)

    def _only_busy(self, lease_id: str, held: Held) -> None:
        """After its end a lease keeps the tokens and the money of calls in flight, no more."""
        busy = [c for c in self.calls.values() if c.lease == lease_id and c.agent == held.agent]
        held.left[TOKENS] = min(held.left[TOKENS], sum(c.tokens for c in busy))
        held.left[MICRODOLLARS] = min(held.left[MICRODOLLARS], sum(c.microdollars for c in busy))

    def _close_if_empty(self, lease_id: str) -> None:
        if lease_id in self.leases and not any(self.leases[lease_id].left):
            self._close(lease_id)

    def _close(self, lease_id: str) -> None:
        held = self.leases.pop(lease_id)
        self.forfeits.append((held.agent, held.left[:TOKENS]))

    def _happen(self, event: e.Event) -> None:
        match event:
            case e.AgentStarted():
                self._act(event.parent, event.lease, SPAWNS)
                self.members[event.agent] = Member(
                    event.parent, event.source, contract=event.budget is not None
                )
            case e.AgentEnded():
                self._end(event.agent)
            case e.ToolCallStarted():
                self._act(event.agent, event.lease, TOOL_CALLS)
                self.calls[event.call] = InFlight(event.agent, event.lease, 0, 0)
            case e.ModelCallStarted():
                self._act(event.agent, event.lease, MODEL_CALLS, drop=False)
                self.calls[event.call] = InFlight(
                    event.agent, event.lease, event.tokens_estimate, event.microdollars_estimate
                )
                self._close_if_empty(event.lease)
            case e.ToolCallEnded():
                del self.calls[event.call]
            case e.ModelCallEnded():
                self._answered(event)
            case e.LeaseReturned():
                self._returned(event)
            case e.HolderLost():
                self._lost(event.holder)
            case e.OrderGiven(action="kill"):
                self.kills.append((event.order, event.scope, event.agent))
            case e.RunEnded() if not self.over:
                self._finish()
            case _:
                pass

    def _act(self, agent: str, lease_id: str, unit: int, drop: bool = True) -> None:
        self.acts.append((agent, unit, 1))
        held = self.leases.get(lease_id)
        if held is not None and held.agent == agent and held.left[unit]:
            held.left[unit] -= 1
            if drop:
                self._close_if_empty(lease_id)

    def _answered(self, event: e.ModelCallEnded) -> None:
        call = self.calls.pop(event.call)
        tokens = (
            event.input_tokens + event.output_tokens + event.cache_read_tokens
            + event.cache_write_tokens
        )  # fmt: skip
        self.acts.append((call.agent, TOKENS, tokens))
        self.acts.append((call.agent, MICRODOLLARS, event.cost_microdollars))
        held = self.leases.get(call.lease)
        if held is None or held.agent != call.agent:
            return
        held.left[TOKENS] = max(0, held.left[TOKENS] - tokens)
        held.left[MICRODOLLARS] = max(0, held.left[MICRODOLLARS] - event.cost_microdollars)
        if held.ran_out:
            self._only_busy(call.lease, held)
        self._close_if_empty(call.lease)

    def _returned(self, event: e.LeaseReturned) -> None:
        if event.lease not in self.leases:  # Settled when its agent, or all of the run, was over.
            assert self.over or not self.members[event.agent].live or self.killed(event.agent)
            return
        held = self.leases[event.lease]
        back = UNITS[:TOKENS] if held.ran_out else UNITS
        for unit, name in enumerate(back):
            held.left[unit] -= min(held.left[unit], getattr(event.left, name))
        if event.closed:
            self._close(event.lease)
        else:
            self._close_if_empty(event.lease)

    def _end(self, agent: str) -> None:
        if not self.members[agent].live:
            return
        self.members[agent].live = False
        for lease_id in [key for key, held in self.leases.items() if held.agent == agent]:
            self._close(lease_id)

    def _lost(self, holder: str) -> None:
        over = [key for key, held in self.leases.items() if held.holder == holder]
        for lease_id in over:
            self._close(lease_id)
        gone = []
        for name, member in self.members.items():
            if member.live and member.source == holder:
                others = [held.holder for held in self.leases.values() if held.agent == name]
                if others:
                    member.source = others[0]
                else:
                    gone.append(name)
        for name in gone:
            self._end(name)
        for key, call in tuple(self.calls.items()):
            if call.agent in gone or call.lease in over:
                del self.calls[key]

    def _finish(self) -> None:
        self.over, self.ended_ms = True, self.now_ms
        for lease_id in tuple(self.leases):
            self._close(lease_id)

    def _decided(self, verdict: Verdict) -> None:
        if verdict.lease is not None:
            lease = verdict.lease
            self.leases[lease.lease] = Held(
                lease.agent, lease.holder, list(lease.units), self.now_ms + lease.ttl_ms
            )
        for order in verdict.orders:
            if order.action == "kill":
                self.kills.append((order.order, order.scope, order.agent))
        for order_id in verdict.quiet:
            for _, scope, target in [kill for kill in self.kills if kill[0] == order_id]:
                for name in self.members:
                    if self.covers(name, scope, target):
                        self._end(name)

    def _tick(self) -> None:
        memory = self.policy.memory
        if not self.over and self.now_ms >= self.active_ms + memory.idle_ms:
            self._finish()
        if self.over and self.now_ms >= self.ended_ms + memory.linger_ms:
            self.forgotten = True


def recount(
    run: str, policy: Policy, records: Sequence[Record], verdicts: Sequence[Verdict | None]
) -> Twin:
    """The run as its whole history tells it."""
    twin = Twin(run, policy)
    for record, verdict in zip(records, verdicts, strict=True):
        if record.event.run == run:
            twin.tell(record, verdict)
    return twin
