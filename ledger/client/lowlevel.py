"""Admission by events, for adapters: requests in, pledges out, and what recorded events tell.

What a newcomer would get wrong
    An answer is kept under the request's call (or child) until the act is recorded, so that a
    request that is repeated gets the same answer and spends once.
    Events that somebody records by hand are noted: a run that starts is known here, an agent
    that ends returns its lease first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ledger.client import drafts, leases
from ledger.client.admission import Request, Wish
from ledger.client.answers import BadValue, Decision
from ledger.core import events as e
from ledger.core.verdicts import MODEL_CALLS, SPAWNS, TOOL_CALLS

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.leases import HeldLease
    from ledger.client.local import LocalAgent
    from ledger.core.policy import Policy

PLEDGES_MAX = 10_000
"""Answers kept; the oldest goes first. Its unit stays spent."""
ENDINGS = frozenset(
    {
        e.ToolCallEnded, e.ModelCallEnded, e.AgentEnded, e.RunEnded, e.OutcomeReported,
        e.LeaseReturned, e.OrderReceipted,
    }
)  # fmt: skip
"""What a killed agent may still record: that something is over."""
NOTED = frozenset(
    {
        e.RunStarted, e.AgentStarted, e.ToolCallStarted, e.ModelCallStarted, e.ModelCallEnded,
        e.AgentEnded, e.RunEnded,
    }
)  # fmt: skip
"""Events that change what this process knows."""
Key = tuple[str, str, str]


class Pledge:
    """An act that was allowed and not yet begun, or a model call until it ends."""

    __slots__ = ("agent", "decision", "estimated", "lease")

    def __init__(
        self, agent: LocalAgent, decision: Decision, lease: HeldLease | None,
        estimated: tuple[int, int],
    ) -> None:  # fmt: skip
        self.agent, self.decision, self.lease = agent, decision, lease
        self.estimated = estimated

    def settle(self, engine: Engine, used: tuple[int, int]) -> None:
        """The act is recorded: its lease need not stay open for it."""
        if self.lease is not None:
            leases.settle(self.agent, self.lease, engine.queue, estimated=self.estimated, used=used)


class Pledges:
    """Answers that were given and not yet acted on, by run, agent and call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pledges: dict[Key, Pledge] = {}
        self._calls: dict[Key, Pledge] = {}

    def find(self, request: Request) -> Decision | None:
        """The answer that this request got before."""
        pledge = self._pledges.get(_key(request))
        return None if pledge is None else pledge.decision

    def keep(
        self, agent: LocalAgent, request: Request, decision: Decision, lease: HeldLease | None
    ) -> Decision:
        """Remember an allowed request; gives the decision back."""
        if decision.denied:
            return decision
        estimated = (0, 0)
        if isinstance(request, e.ModelCallRequested):
            estimated = (request.tokens_estimate, request.microdollars_estimate)
        with self._lock:
            self._pledges[_key(request)] = Pledge(agent, decision, lease, estimated)
            while len(self._pledges) > PLEDGES_MAX:
                del self._pledges[next(iter(self._pledges))]
        return decision

    def take(self, run: str, agent: str, call: str) -> Pledge | None:
        """The pledge for a call that begins now; the caller settles it."""
        return self._pledges.pop((run, agent, call), None)

    def begun(self, engine: Engine, event: e.Event) -> None:
        """An act was recorded as started."""
        if isinstance(event, e.AgentStarted):
            key: Key = (event.run, event.parent, event.agent)
        else:
            assert isinstance(event, e.ToolCallStarted | e.ModelCallStarted)
            key = (event.run, event.agent, event.call)
        pledge = self._pledges.pop(key, None)
        if pledge is None:
            return
        if isinstance(event, e.ModelCallStarted):
            self._calls[key] = pledge
            while len(self._calls) > PLEDGES_MAX:
                del self._calls[next(iter(self._calls))]
        else:
            pledge.settle(engine, (0, 0))

    def ended(self, engine: Engine, event: e.ModelCallEnded) -> None:
        """A model call was recorded as ended."""
        pledge = self._calls.pop((event.run, event.agent, event.call), None)
        if pledge is not None:
            tokens = (
                event.input_tokens + event.output_tokens
                + event.cache_read_tokens + event.cache_write_tokens
            )  # fmt: skip
            pledge.settle(engine, (tokens, event.cost_microdollars))

    def drop(self, engine: Engine, agent: LocalAgent | None = None) -> None:
        """What was not acted on (of this agent) stays spent; its leases may go."""
        for pledges in (self._pledges, self._calls):
            for key, pledge in tuple(pledges.items()):
                if agent is None or pledge.agent is agent:
                    del pledges[key]
                    pledge.settle(engine, pledge.estimated)


def _key(request: Request) -> Key:
    if isinstance(request, e.SpawnRequested):
        return request.run, request.agent, request.child
    return request.run, request.agent, request.call


def wish_of(
    engine: Engine, policy_of: Callable[[str], Policy], request: Request
) -> tuple[LocalAgent, Wish]:
    """The request as an admission. Its run need not have been started here. Raises BadValue."""
    if not isinstance(request, e.SpawnRequested | e.ToolCallRequested | e.ModelCallRequested):
        raise BadValue("request", request, "it must be a spawn, tool call or model call request")
    run = engine.runs.get(request.run) or engine.run(request.run, policy_of(""), owned=False)
    agent = run.agents.get(request.agent) or run.agent(request.agent, ())
    by_name = (drafts.given, (request,))
    if isinstance(request, e.SpawnRequested):
        return agent, Wish(SPAWNS, *by_name, None, ())
    if isinstance(request, e.ToolCallRequested):
        return agent, Wish(TOOL_CALLS, *by_name, None, (), fp=request.args_fp)
    return agent, Wish(
        MODEL_CALLS, *by_name, None, (),
        tokens=request.tokens_estimate, microdollars=request.microdollars_estimate,
    )  # fmt: skip


def note_before(engine: Engine, policy_of: Callable[[str], Policy], event: e.Event) -> None:
    """Before the event is put down: who starts is known here, who ends returns his lease."""
    if isinstance(event, e.RunStarted):
        run = engine.run(event.run, policy_of(event.policy), owned=True)
        run.agent(event.agent, ()).handles += 1
        return
    known = engine.runs.get(event.run)
    if known is None:
        return
    if isinstance(event, e.AgentStarted):
        parent = known.agents.get(event.parent)
        path = (event.parent,) if parent is None else (*parent.path, parent.id)
        known.agent(event.agent, path).handles += 1
    elif isinstance(event, e.AgentEnded):
        agent = known.agents.get(event.agent)
        if agent is not None:
            agent.handles -= 1
            engine.pledges.drop(engine, agent)
            leases.give_back(agent, engine.queue)
            known.forget(agent)
    elif isinstance(event, e.RunEnded):
        for agent in tuple(known.agents.values()):
            engine.pledges.drop(engine, agent)
        engine.give_back(known)
        known.ended = True


def note_after(engine: Engine, event: e.Event) -> None:
    """After the event was put down: what it began or ended is settled."""
    if isinstance(event, e.ModelCallEnded):
        engine.pledges.ended(engine, event)
    elif isinstance(event, e.AgentStarted | e.ToolCallStarted | e.ModelCallStarted):
        engine.pledges.begun(engine, event)
