"""A simulated world for law 5: processes that hold leases, race, stall, die and come back late.

What was really done is counted here, at the moment it is done, whether its record ever reaches
the log or not. A process acts only on a lease that it read and that has not run out by its own
clock; its records wait in a queue that may stall past the lease's end, or die with it. The log's
clock may jump against everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.core import events as e
from ledger.core import policy
from ledger.core.events import Event, Record
from ledger.core.fold import fold
from ledger.core.shapes import Units
from ledger.core.state import LIVE, State
from ledger.core.verdicts import MODEL_CALLS, SPAWNS, TOKENS, TOOL_CALLS, UNITS, Verdict

Step = tuple[int, int, int, int]
TTL_MS = 200
PROCESSES = 3
STEPS_MS = (*[1] * 94, 20, 20, 20, 90, 90, 300)
"""How long a move takes: mostly nothing, now and then longer than a lease."""

CROWDED = policy.Policy(
    name="crowded",
    run=policy.RunLimits(
        agents_max=7, agents_live_max=5, depth_max=3, tool_calls_max=9, model_calls_max=7,
        tokens_max=1_000, microdollars_max=100_000, spawns_refused_max=1_000,
    ),
    agent=policy.AgentLimits(
        open_children_max=2, children_max=5, tool_calls_max=6, model_calls_max=5,
        tokens_max=800, microdollars_max=100_000,
    ),
    lease=policy.Leases(
        ttl_ms=TTL_MS, spawns=3, tool_calls=6, model_calls=5, tokens=500, microdollars=1_000,
    ),
    memory=policy.Memory(clock_jump_ms=5_000),
)  # fmt: skip


@dataclass
class Lease:
    """What a process may still do by itself, and until when by its own clock."""

    id: str
    agent: str
    left: list[int]
    until_ms: int
    open_calls: int = 0


@dataclass
class Process:
    """One client: its queue of records, the answers it has not read, its leases, its calls."""

    source: str
    alive: bool = True
    seq: int = 0
    queue: list[tuple[Event, int]] = field(default_factory=list)
    inbox: list[tuple[Verdict, int]] = field(default_factory=list)
    leases: dict[str, Lease] = field(default_factory=dict)
    calls: dict[str, tuple[str, str, int]] = field(default_factory=dict)


@dataclass
class Being:
    """An agent as it really is: where it acts, whose process announced it, its contract."""

    parent: str
    home: Process
    announcer: Process
    live: bool = True
    ceiling: int = 0
    done: list[int] = field(default_factory=lambda: [0] * 5)


class World:
    """All of it. `play` makes one move; `check` raises where a limit was really exceeded."""

    def __init__(self) -> None:
        self.state = State(0)
        self.state.policies[CROWDED.digest] = CROWDED
        self.offset = self.born = self.orders = self.over_estimate = 0
        self.now_ms, self.skew_ms, self.skewed = 1_000, 0, False
        self.processes = [Process(f"p{n}") for n in range(PROCESSES)]
        self.graves: list[Process] = []
        self.beings = {"lead": Being("", self.processes[0], self.processes[0])}
        self.say(self.processes[0], e.RunStarted, "lead", policy=CROWDED.digest)
        self.flush(self.processes[0], 1)

    # --- the log -----------------------------------------------------------------------------

    def say(self, by: Process, cls: type[Event], agent: str, **fields: Any) -> None:
        """Put a record into the process's queue."""
        by.seq += 1
        event = cls(**{"run": "r", "agent": agent, "source": by.source, "seq": by.seq, **fields})
        by.queue.append((event, self.now_ms))

    def append(self, event: Event) -> Verdict | None:
        """The log takes the event in, and the judge judges it."""
        self.offset += 1
        verdict = fold(self.state, Record(self.offset, self.now_ms + self.skew_ms, event))
        for order in () if verdict is None else verdict.quiet:
            self.hushed(order)
        return verdict

    def flush(self, by: Process, count: int) -> None:
        """The first records of the queue reach the log; the answers are on their way back."""
        for event, sent_ms in by.queue[:count]:
            verdict = self.append(event)
            if verdict is not None and verdict.decision is not None:
                by.inbox.append((verdict, sent_ms))
        del by.queue[:count]

    def hushed(self, order_id: str) -> None:
        """The order is quiet: whoever the kill covered may not act any more."""
        run = self.state.runs["r"]
        order = run.orders[order_id]
        if order.action != "kill":
            return
        for name, being in self.beings.items():
            if name in run.agents and run.agents[name].status:
                held = [x for x in being.home.leases.values() if x.agent == name]
                if being.home.alive and not self.skewed:
                    assert not [x for x in held if x.until_ms > self.now_ms]
                being.live = False

    # --- what processes do -------------------------------------------------------------------

    def own(self, by: Process) -> list[str]:
        """The living agents of a process."""
        return [name for name, being in self.beings.items() if being.live and being.home is by]

    def usable(self, by: Process, unit: int) -> list[Lease]:
        """Leases that the process may act on now."""
        return [
            lease
            for lease in by.leases.values()
            if lease.until_ms > self.now_ms and lease.left[unit] and self.beings[lease.agent].live
        ]

    def ask(self, by: Process, what: int, how: int) -> None:
        """Ask for a lease, a spawn, a call: for one of one's own agents."""
        own = self.own(by)
        agent, name = own[what % len(own)], f"x{self.offset}-{by.seq}"
        match how % 4:
            case 0:
                self.say(by, e.SpawnRequested, agent, child=name)
            case 1:
                self.say(by, e.ToolCallRequested, agent, call=name, tool="t")
            case 2:
                self.say(by, e.ModelCallRequested, agent, call=name, model="m",
                         tokens_estimate=10 * what)  # fmt: skip
            case _:
                wants = Units(spawns=how % 3, tool_calls=what, model_calls=what, tokens=60 * what)
                self.say(by, e.LeaseRequested, agent, wants=wants)

    def send(self, by: Process, what: int, how: int) -> None:
        """Some of the queue gets through."""
        self.flush(by, 1 + what)

    def read(self, by: Process, what: int, how: int) -> None:
        """Read the answers; a lease counts from when it was asked for."""
        for verdict, sent_ms in by.inbox:
            grant = verdict.lease
            if grant is not None and self.beings[grant.agent].live:
                until_ms = sent_ms + grant.ttl_ms
                by.leases[grant.lease] = Lease(
                    grant.lease, grant.agent, list(grant.units), until_ms
                )
        by.inbox.clear()

    def exchange(self, by: Process, what: int, how: int) -> None:
        """The usual case: all is sent and answered at once."""
        self.flush(by, len(by.queue))
        self.read(by, what, how)

    def call_tool(self, by: Process, what: int, how: int) -> None:
        """Call a tool, now; the record follows some time."""
        for lease in self.usable(by, TOOL_CALLS)[what % 2 :][:1]:
            lease.left[TOOL_CALLS] -= 1
            self.beings[lease.agent].done[TOOL_CALLS] += 1
            call = f"t{self.now_ms}-{by.source}-{by.seq}"
            self.say(by, e.ToolCallStarted, lease.agent, call=call, tool="t", lease=lease.id)
            self.say(by, e.ToolCallEnded, lease.agent, call=call)

    def call_model(self, by: Process, what: int, how: int) -> None:
        """Start a model call with what is set aside for it."""
        for lease in self.usable(by, MODEL_CALLS)[what % 2 :][:1]:
            estimate = min(lease.left[TOKENS], 25 * how)
            lease.left[MODEL_CALLS] -= 1
            lease.left[TOKENS] -= estimate
            lease.open_calls += 1
            self.beings[lease.agent].done[MODEL_CALLS] += 1
            call = f"m{self.now_ms}-{by.source}-{by.seq}"
            by.calls[call] = (lease.agent, lease.id, estimate)
            self.say(by, e.ModelCallStarted, lease.agent, call=call, model="m", lease=lease.id,
                     tokens_estimate=estimate)  # fmt: skip

    def answer(self, by: Process, what: int, how: int) -> None:
        """A model call comes back: it took what was estimated, less, or now and then more."""
        if not by.calls:
            return
        call = next(iter(by.calls))
        agent, lease_id, estimate = by.calls.pop(call)
        used = estimate * (what + 3) // 10 if what < 9 else estimate + 40
        self.beings[agent].done[TOKENS] += used
        self.say(by, e.ModelCallEnded, agent, call=call, input_tokens=used)
        lease = by.leases.get(lease_id)
        run_lease = self.state.runs["r"].leases.get(lease_id)
        started = self.state.runs["r"].calls.get(call)
        # In doubt: what was not estimated, and what the log did not know of at the lease's end.
        unknown = run_lease is None or run_lease.forfeit or started is None
        self.over_estimate += used if unknown else max(0, used - estimate)
        if lease is not None:
            lease.open_calls -= 1
            lease.left[TOKENS] += max(0, estimate - used)

    def start(self, by: Process, what: int, how: int) -> None:
        """Start a child on a lease, now; it lives in this process or in another."""
        for lease in self.usable(by, SPAWNS)[what % 2 :][:1]:
            lease.left[SPAWNS] -= 1
            self.born += 1
            child, ceiling = f"a{self.born}", 3 if how == 7 else 0
            home = self.processes[how % PROCESSES]
            self.beings[child] = Being(lease.agent, home, by, ceiling=ceiling)
            self.beings[lease.agent].done[SPAWNS] += 1
            budget = Units(tool_calls=ceiling) if ceiling else None
            self.say(by, e.AgentStarted, child, parent=lease.agent, lease=lease.id, budget=budget)

    def end(self, by: Process, what: int, how: int) -> None:
        """One of its agents is done, or one that it announced and whose process died."""
        own = [name for name in self.own(by) if name != "lead"]
        own += [n for n, b in self.beings.items() if b.announcer is by and not b.home.alive]
        busy = {agent for agent, _, _ in by.calls.values()}
        for name in [own[what % len(own)]] if own else []:
            if name not in busy:
                self.beings[name].live = False
                by.leases = {k: x for k, x in by.leases.items() if x.agent != name}
                self.say(by, e.AgentEnded, name)

    def give_back(self, by: Process, what: int, how: int) -> None:
        """Return a lease, or a part of it; with calls in flight, all but what they hold."""
        for lease in list(by.leases.values())[what % 4 :][:1]:
            part, busy = how % 3 == 0, lease.open_calls > 0
            back = [0, lease.left[TOOL_CALLS] // 2, 0, 0, 0] if part else list(lease.left)
            lease.left = [have - gone for have, gone in zip(lease.left, back, strict=True)]
            if not part and not busy:
                del by.leases[lease.id]
            left = Units(**dict(zip(UNITS, back, strict=True)))
            fields = {"lease": lease.id, "left": left, "closed": not part and not busy}
            self.say(by, e.LeaseReturned, lease.agent, **fields)

    # --- what happens to processes -----------------------------------------------------------

    def die(self, by: Process, what: int, how: int) -> None:
        """Killed: what it had not sent is lost, though done. Another comes in its place."""
        if how > 2 or by is self.beings["lead"].home:
            return
        for name in self.own(by):
            self.beings[name].live = False
        by.alive = False
        self.graves.append(by)
        self.processes[self.processes.index(by)] = Process(f"p{self.offset}")

    def bury(self, by: Process, what: int, how: int) -> None:
        """Somebody proves that a dead process is dead."""
        for grave in self.graves[:1]:
            self.append(e.HolderLost(run="r", holder=grave.source))
            self.graves.remove(grave)

    def order(self, by: Process, what: int, how: int) -> None:
        """A person stops a part of it, or lets it go on."""
        self.orders += 1
        action = ("pause", "drain", *["resume"] * 5, *["kill"] * 3)[how]
        scope = "run" if action != "kill" else ("agent", "subtree")[what % 2]
        names = [name for name in self.beings if name != "lead"]
        if scope != "run" and not names:
            return
        agent = "" if scope == "run" else names[what % len(names)]
        fields = {"action": action, "scope": scope, "order": f"o{self.orders}"}
        self.append(e.OrderGiven(run="r", agent=agent, **fields))  # type: ignore[arg-type]

    def obey(self, by: Process, what: int, how: int) -> None:
        """The process hears of kills, stops who is killed, and says so."""
        run = self.state.runs["r"]
        for name in self.own(by):
            if name in run.agents and run.agents[name].latch & 1:
                self.beings[name].live = False
                by.leases = {k: x for k, x in by.leases.items() if x.agent != name}
        self.flush(by, len(by.queue))
        for order in tuple(run.orders.values()):
            if order.action == "kill" and not order.quiet:
                self.say(by, e.OrderReceipted, "", order=order.id)

    def tick(self, by: Process, what: int, how: int) -> None:
        self.append(e.Ticked(run="r"))

    def skew(self, by: Process, what: int, how: int) -> None:
        """The log's clock is set: ahead or back."""
        self.skew_ms += (what - 4) * 60
        self.skewed = True

    # --- the check ---------------------------------------------------------------------------

    def play(self, step: Step) -> None:
        """One move: what, by which process, two details; some time passes after it."""
        kind, who, what, how = step
        move = MOVES[kind % len(MOVES)]
        inhabited = [by for by in self.processes if self.own(by)]
        by = self.processes[who % PROCESSES] if move in ALONE else inhabited[who % len(inhabited)]
        move(self, by, what, how)
        self.now_ms += STEPS_MS[what * 10 + how]

    def check(self) -> None:
        """What was really done stays within the policy."""
        run, agent = CROWDED.run, CROWDED.agent
        beings = self.beings.values()
        total = [sum(being.done[unit] for being in beings) for unit in range(5)]
        assert total[SPAWNS] + 1 <= run.agents_max
        assert total[TOOL_CALLS] <= run.tool_calls_max
        assert total[MODEL_CALLS] <= run.model_calls_max
        live = [name for name in self.beings if self.acts(name)]
        assert len(live) <= run.agents_live_max
        assert total[TOKENS] <= run.tokens_max + self.over_estimate
        for name, being in self.beings.items():
            assert being.done[SPAWNS] <= agent.children_max
            assert being.done[TOOL_CALLS] <= agent.tool_calls_max
            assert being.done[MODEL_CALLS] <= agent.model_calls_max
            assert being.done[TOKENS] <= agent.tokens_max + self.over_estimate
            children = [child for child in live if self.beings[child].parent == name]
            assert len(children) <= agent.open_children_max
            assert self.depth(name) <= run.depth_max
            if being.ceiling:
                below = [b for n, b in self.beings.items() if self.under(n, name)]
                assert sum(b.done[TOOL_CALLS] for b in below) <= being.ceiling

    def acts(self, name: str) -> bool:
        """Alive, and not known to be over: one that is may still use a lease that it holds."""
        being, known = self.beings[name], self.state.runs["r"].agents.get(name)
        if known is None or known.status == LIVE:
            return being.live
        held = [lease for lease in being.home.leases.values() if lease.agent == name]
        return being.live and any(lease.until_ms > self.now_ms for lease in held)

    def depth(self, name: str) -> int:
        """Levels below the lead."""
        return 0 if not self.beings[name].parent else 1 + self.depth(self.beings[name].parent)

    def under(self, name: str, top: str) -> bool:
        """Whether `top` is the agent or one of its ancestors."""
        return name == top or (bool(name) and self.under(self.beings[name].parent, top))


Play = Callable[[World, Process, int, int], None]
MOVES: Sequence[Play] = (
    *[World.ask] * 5, *[World.exchange] * 4, World.send, World.send, World.read,
    *[World.call_tool] * 5, *[World.call_model] * 4, *[World.answer] * 3, *[World.start] * 4,
    World.end, World.give_back, World.die, World.bury, World.order,
    World.obey, World.tick, World.skew,
)  # fmt: skip
ALONE = frozenset({World.die, World.bury, World.send, World.read})
"""Moves of any process, also one in which no agent lives."""
