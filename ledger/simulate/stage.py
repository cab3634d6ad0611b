"""One simulated run: its agents, their processes, the orders that reach them, its end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ledger.core import events as e
from ledger.core import fingerprint
from ledger.core.policy import DEFAULT
from ledger.core.shapes import Grade
from ledger.core.verdicts import Finding, Verdict
from ledger.simulate.actor import Actor, Host
from ledger.simulate.acts import Answer, Order, Spawn
from ledger.simulate.purse import Purse
from ledger.simulate.scenario import Scenario
from ledger.simulate.tally import Tally
from ledger.simulate.world import JUDGE, World

LEAD = "lead"
NOTICE_MS = 2_000
"""How long it takes until a dead process is noticed."""


class Stage:
    """A run of `scenario` in `world`; `open` raises the curtain."""

    def __init__(self, world: World, scenario: Scenario, seed: int, run: str) -> None:
        self.world = world
        self.scenario = scenario
        self.seed = seed
        self.policy = world.policy or DEFAULT
        self.run = run
        self.grade: Grade = "enforced" if world.watched else "observed"
        self.began_ms = world.now_ms
        self.actors: dict[str, Actor] = {}
        self.live: dict[str, Actor] = {}
        self.hosts: list[Host] = []
        self.shared: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.lent: dict[str, Purse] = {}
        self.closing = False
        self.over = False
        self.tally = Tally(self)
        self._waiters: dict[str, list[Actor]] = {}
        self._calls = self._handoffs = self._orders = 0
        self._asked: dict[str, int] = {}
        self._operator: Actor | None = None

    # --- the run -------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the run, its lead, and the operator where there is one."""
        world, scenario = self.world, self.scenario
        self.began_ms = world.now_ms
        task = scenario.task or scenario.line
        host = self._new_host()
        self.write(
            e.RunStarted,
            host=host,
            agent=LEAD,
            policy=world.policy.digest if world.policy is not None else "",
            task=task,
            task_key=scenario.name,
            task_fp=fingerprint.exact(task),
            task_near=fingerprint.near(task),
            role=LEAD,
            labels={"scenario": scenario.name, "seed": str(self.seed), "scripted": "true"},
        )
        lead = Actor(self, host, LEAD, None, scenario.lead)
        self._join(lead)
        world.after(0, lambda: lead.go(None))
        if scenario.operator is not None:
            person = Actor(self, Host("operator"), "operator", None, scenario.operator)
            self._operator = person
            world.after(0, lambda: person.go(None))
        world.after(scenario.duration_cap_ms, lambda: self.cut("cut_off"), only_if_awake=True)

    def cut(self, outcome: str) -> None:
        """The world ends this run: the host is gone, and nobody writes what happened."""
        if self.over or not self.live:
            return
        self.tally.outcome = outcome
        for actor in tuple(self.live.values()):
            self._stop(actor)
        if self._operator is not None:
            self._stop(self._operator)
        self.over = True
        self.tally.over()

    def spent(self) -> None:
        """Money was spent: is the account empty?"""
        cap = self.scenario.microdollars_cap
        if cap and self.tally.microdollars >= cap:
            self.cut("account_empty")

    # --- agents --------------------------------------------------------------------------------

    def start(self, parent: Actor, act: Spawn, name: str, lease: str, fields: Any) -> None:
        """A child comes to life, in its parent's process or its own."""
        host = self._new_host() if act.own_process else parent.host
        self.write(e.AgentStarted, host=host, agent=name, parent=parent.name, lease=lease, **fields)
        child = Actor(self, host, name, parent, act.plays)
        child.waste = child.waste or act.waste
        parent.children.append(name)
        self._join(child)
        child.later(1, lambda: child.go(None))
        cap = self.scenario.agents_cap
        if cap and self.tally.agents_spawned >= cap:
            self.cut("host_died")

    def end(self, actor: Actor, outcome: str, error: str = "") -> None:
        """The agent is done: it gives back what it holds and says so."""
        if actor.over:
            return
        if actor is self._operator:
            actor.over = True
            return
        if self.world.watched:
            actor.purse.give_back()
        self._stop(actor)
        actor.write(e.AgentEnded, outcome=outcome, error=error)
        if actor.name == LEAD:
            self.closing = True
            self.tally.outcome = outcome
            self.write(e.RunEnded, host=actor.host, outcome=outcome, error=error)
            for other in self.live.values():
                if other.waiting == ("inbox", None):
                    other.waiting = None
                    other.answer_in(self.world.round_trip_ms, Answer())
        self._gone(actor.name)

    def crash(self, host: Host) -> None:
        """The process dies and says nothing; somebody notices."""
        host.dead = True
        lost = [actor for actor in host.actors if not actor.over]
        for actor in lost:
            self._stop(actor)
        self.world.after(NOTICE_MS, partial(self._notice, host, [a.name for a in lost]))

    def wait(self, actor: Actor, names: tuple[str, ...]) -> None:
        """Let the actor wait until none of these lives."""
        actor.waiting = ("agents", set(names))
        for name in names:
            self._waiters.setdefault(name, []).append(actor)

    def _notice(self, host: Host, lost: list[str]) -> None:
        if self.over:
            return
        if self.world.watched:
            finder = next((h for h in self.hosts if not h.dead), Host(JUDGE))
            self.write(e.HolderLost, host=finder, holder=host.source, reason="it died")
        for name in lost:
            self._gone(name)

    def _join(self, actor: Actor) -> None:
        self.actors[actor.name] = actor
        self.live[actor.name] = actor
        self.tally.joined(actor)

    def _stop(self, actor: Actor) -> None:
        actor.over = True
        actor.call = None
        actor.script.close()
        if self.live.pop(actor.name, None) is not None:
            self.tally.left(actor)

    def _gone(self, name: str) -> None:
        for actor in self._waiters.pop(name, ()):
            if actor.waiting is not None and actor.waiting[0] == "agents":
                actor.waiting[1].discard(name)
                if not actor.waiting[1]:
                    actor.waiting = None
                    actor.answer_in(0, Answer())
        if not self.live:
            self.tally.over()

    def _new_host(self) -> Host:
        host = Host(f"sim/{len(self.hosts) + 1}")
        self.hosts.append(host)
        return host

    # --- names ---------------------------------------------------------------------------------

    def next_agent(self, role: str) -> str:
        """A name for a child that may come to be."""
        number = self._asked[role] = self._asked.get(role, 0) + 1
        return f"{role}-{number}"

    def next_call(self) -> str:
        """The id of a call."""
        self._calls += 1
        return f"c{self._calls}"

    def next_handoff(self) -> str:
        """The id of a handoff."""
        self._handoffs += 1
        return f"h{self._handoffs}"

    # --- the ledger ----------------------------------------------------------------------------

    def write(self, cls: type[e.Event], *, host: Host, **fields: Any) -> Verdict | None:
        """Record an event of one process; what the judge says of it."""
        host.seq += 1
        event = cls(
            run=self.run,
            source=host.source,
            seq=host.seq,
            at_ms=self.world.now_ms,
            grade=self.grade,
            **fields,
        )
        verdict = self.world.append(event)
        self.tally.wrote(verdict)
        if verdict is not None and self.world.watched:
            self.heed(verdict)
        return verdict

    def heed(self, verdict: Verdict) -> None:
        """Pass findings, recalls and orders on to the processes, a little later."""
        for finding in verdict.findings:
            if finding.mode == "enforce" and (finding.denies or not finding.level):
                self._soon(partial(self._refuse, finding))
        for lease in verdict.recalls:
            purse = self.lent.get(lease)
            if purse is not None:
                self._soon(purse.give_back)
        for order in verdict.orders:
            self._reach(order.order, order.action, order.scope, order.agent)

    def order(self, person: Actor, act: Order) -> None:
        """A person gives an order. Without the ledger only the named agent stops."""
        self._orders += 1
        self.tally.ordered(act.action)
        if not self.world.watched:
            named = self.live.get(act.agent or LEAD)
            if act.action == "kill" and named is not None:
                self.end(named, "killed")
            return
        order = f"order-{self._orders}"
        self.write(
            e.OrderGiven,
            host=person.host,
            agent=act.agent,
            order=order,
            action=act.action,
            scope=act.scope,
            reason=act.reason,
            by=person.name,
        )
        self._reach(order, act.action, act.scope, act.agent)

    def _reach(self, order: str, action: str, scope: str, target: str) -> None:
        given_ms = self.world.now_ms
        for host in self.hosts:
            self._soon(partial(self._latch, host, order, action, scope, target, given_ms))

    def _soon(self, do: Callable[[], None]) -> None:
        self.world.after(self.world.latch_ms, do)

    def _refuse(self, finding: Finding) -> None:
        actor = self.live.get(finding.subject)
        if actor is not None:
            actor.denied = set(finding.denies)

    def _latch(
        self, host: Host, order: str, action: str, scope: str, target: str, given_ms: int
    ) -> None:
        """An order reaches a process: it stops or holds its agents and answers."""
        if host.dead or self.over:
            return
        mine = [a for a in host.actors if not a.over and (scope == "run" or _in(a, scope, target))]
        if action == "resume":
            for actor in mine:
                actor.resume()
            return
        if action == "pause":
            for actor in mine:
                actor.paused = True
        if action == "kill":
            for actor in mine:
                actor.purse.give_back()
        since = [end for end in host.ended if end[0] >= given_ms]
        self.write(
            e.OrderReceipted,
            host=host,
            order=order,
            agents_stopped=0 if action == "drain" else len(mine),
            calls_in_flight=sum(actor.call is not None for actor in mine),
            tokens_since=sum(tokens for _, tokens, _ in since),
            microdollars_since=sum(microdollars for _, _, microdollars in since),
        )
        if action == "kill":
            # Children first, so that the end of the run is the last that is heard of it.
            for actor in reversed(mine):
                if actor.call is not None:
                    actor.call("cancelled")
                self.end(actor, "killed")


def _in(actor: Actor, scope: str, target: str) -> bool:
    return actor.name == target if scope == "agent" else actor.below(target)
