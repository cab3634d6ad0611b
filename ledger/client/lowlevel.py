"""Admission by events: requests in, leases pledged until the *started* event redeems them.

What a newcomer would get wrong
    An answer is kept under the request's call (or child) until the act is recorded, so that a
    request that is repeated gets the same answer and spends once.
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
Key = tuple[str, str, str]


class _Pledge:
    __slots__ = ("agent", "decision", "estimated", "lease")

    def __init__(
        self, agent: LocalAgent, decision: Decision, lease: HeldLease | None,
        estimated: tuple[int, int],
    ) -> None:  # fmt: skip
        self.agent, self.decision, self.lease = agent, decision, lease
        self.estimated = estimated


class Pledges:
    """Answers that were given and not yet acted on, by run, agent and call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pledges: dict[Key, _Pledge] = {}
        self._calls: dict[Key, _Pledge] = {}

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
            self._pledges[_key(request)] = _Pledge(agent, decision, lease, estimated)
            while len(self._pledges) > PLEDGES_MAX:
                del self._pledges[next(iter(self._pledges))]
        return decision

    def redeem(self, engine: Engine, event: e.Event) -> None:
        """The act was recorded as started or ended: its lease need not stay open for it."""
        if isinstance(event, e.ModelCallEnded):
            pledge = self._calls.pop((event.run, event.agent, event.call), None)
            if pledge is not None and pledge.lease is not None:
                tokens = (
                    event.input_tokens + event.output_tokens
                    + event.cache_read_tokens + event.cache_write_tokens
                )  # fmt: skip
                leases.settle(
                    pledge.agent, pledge.lease, engine.queue,
                    estimated=pledge.estimated, used=(tokens, event.cost_microdollars),
                )  # fmt: skip
            return
        if not isinstance(event, e.ToolCallStarted | e.ModelCallStarted | e.AgentStarted):
            return
        if isinstance(event, e.AgentStarted):
            key: Key = (event.run, event.parent, event.agent)
        else:
            key = (event.run, event.agent, event.call)
        pledge = self._pledges.pop(key, None)
        if pledge is None or pledge.lease is None:
            return
        if isinstance(event, e.ModelCallStarted):
            self._calls[key] = pledge
        else:
            leases.settle(pledge.agent, pledge.lease, engine.queue, estimated=(0, 0), used=(0, 0))

    def drop(self) -> None:
        """Forget all: what was not acted on stays spent."""
        self._pledges.clear()
        self._calls.clear()


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
