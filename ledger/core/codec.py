"""Runs as bytes, for checkpoints: JSON lists, by position, with a version in front.

Not pickle: reading that runs code. A version that is not ours, or a policy that is not
there, raises `Stale`: the run is folded again from the log.
"""

from __future__ import annotations

from array import array
from operator import attrgetter
from typing import Any

from pydantic_core import from_json, to_json

from ledger.core import detectors
from ledger.core.budget import Budget, Lease, shared
from ledger.core.lifecycle import FOLD_VERSION
from ledger.core.policy import DEFAULT
from ledger.core.state import Agent, Call, Order, Run, State

_AGENT = (
    "id", "role", "source", "status", "latch", "latch_below", "leases", "children_open",
    "children_leased",
)  # fmt: skip
_RUN = (
    "partition", "offset", "now_ms", "active_ms", "deadline_ms", "ended_ms", "status", "latch",
    "latched", "live", "live_leased", "gaps", "repeats", "unadmitted", "jumped_ms", "sources",
    "spoken", "handoffs",
)  # fmt: skip
_AGENT_SAYS = attrgetter(*_AGENT)
_RUN_SAYS = attrgetter(*_RUN)
_ORDER = (
    "id", "action", "scope", "agent", "offset", "at_ms", "waiting", "quiet", "acted_after",
    "microdollars_after",
)  # fmt: skip
_ORDER_SAYS = attrgetter(*_ORDER)
_FIXED_ORDER = 6


class Stale(Exception):
    """The bytes are of another version, or name a policy that is not known."""


def _budget(budget: Budget) -> list[list[int]]:
    return [list(budget.granted), budget.used.tolist()]


def _load_budget(data: list[list[int]]) -> Budget:
    budget = Budget(shared(tuple(data[0])))
    budget.used = array("q", data[1])
    return budget


def dump_run(run: Run) -> bytes:
    """The whole run, as JSON bytes; `load_run` gives an equal one."""
    agents = [
        (
            *_AGENT_SAYS(agent),
            [None if part is None else _pack(part) for part in agent.memory],
            None if agent.parent is None else agent.parent.id,
            agent.budget.used.tolist(),  # What is granted its limits say.
            None if agent.contract is None else _budget(agent.contract),
        )
        for agent in run.agents.values()
    ]
    leases = [
        [
            *(lease.id, lease.agent, lease.holder, lease.left.tolist(), lease.expires_ms),
            *(lease.forfeit, lease.tokens_busy, lease.microdollars_busy),
        ]
        for lease in run.leases.values()
    ]
    calls = [
        [
            *(key, call.agent, call.kind, call.name, call.fp, call.lease),
            *(call.tokens, call.microdollars),
        ]
        for key, call in run.calls.items()
    ]
    return to_json(
        [
            FOLD_VERSION,
            [run.id, run.policy.digest, run.tenant, run.effort, run.observed],
            _RUN_SAYS(run),
            _budget(run.budget),
            agents,
            leases,
            calls,
            [_ORDER_SAYS(order) for order in run.orders.values()],
            _pack(run.memory),
        ]
    )


def load_run(data: bytes, state: State) -> Run:
    """The run that `dump_run` wrote, under the policies that `state` knows.

    Raises Stale when the run must be folded again instead.
    """
    parts = from_json(data)
    if parts[0] != FOLD_VERSION:
        raise Stale(f"version {parts[0]}, this code writes {FOLD_VERSION}")
    run_id, digest, tenant, effort, observed = parts[1]
    policy = DEFAULT if digest == DEFAULT.digest else state.policies.get(digest)
    if policy is None:
        raise Stale(f"policy {digest} is not known")
    run = Run(run_id, policy, tenant, effort, observed, 0)
    run.rules = detectors.rules(policy)
    for name, value in zip(_RUN, parts[2], strict=True):
        setattr(run, name, value)
    run.budget = _load_budget(parts[3])
    for fields in parts[4]:
        _load_agent(run, fields)
    for fields in parts[5]:
        lease = Lease(fields[0], fields[1], fields[2], array("q", fields[3]), fields[4])
        lease.forfeit, lease.tokens_busy, lease.microdollars_busy = fields[5:]
        run.leases[lease.id] = lease
        if not lease.forfeit:
            run.expect(lease)
    run.calls = {fields[0]: Call(*fields[1:]) for fields in parts[6]}
    for fields in parts[7]:
        order = Order(*fields[:_FIXED_ORDER])
        for name, value in zip(_ORDER[_FIXED_ORDER:], fields[_FIXED_ORDER:], strict=True):
            setattr(order, name, value)
        run.orders[order.id] = order
    run.memory = _unpack(parts[8])
    return run


def _load_agent(run: Run, fields: list[Any]) -> None:
    memory, parent_id, used, contract = fields[len(_AGENT) :]
    parent = None if parent_id is None else run.agents[parent_id]
    role = fields[1]
    agent = Agent(fields[0], parent, role, fields[2], run.policy.for_agent(role), 0)
    for name, value in zip(_AGENT, fields, strict=False):
        setattr(agent, name, value)
    agent.leases = tuple(agent.leases)
    agent.memory = [None if part is None else _unpack(part) for part in memory]
    agent.budget.used = array("q", used)
    agent.contract = None if contract is None else _load_budget(contract)
    run.add(agent)


def _pack(memory: Any) -> Any:
    """Dicts as pairs, because JSON would make strings of their integer keys; arrays marked."""
    if isinstance(memory, array):
        return {"q": memory.tolist()}
    if isinstance(memory, bytearray):
        return {"b": memory.hex()}
    if isinstance(memory, dict):
        return {"d": [[key, _pack(value)] for key, value in memory.items()]}
    if isinstance(memory, tuple):
        return {"t": [_pack(part) for part in memory]}
    if isinstance(memory, list):
        return [_pack(part) for part in memory]
    return memory


def _unpack(data: Any) -> Any:
    if isinstance(data, list):
        return [_unpack(part) for part in data]
    if not isinstance(data, dict):
        return data
    if "q" in data:
        return array("q", data["q"])
    if "b" in data:
        return bytearray.fromhex(data["b"])
    if "t" in data:
        return tuple(_unpack(part) for part in data["t"])
    return {key: _unpack(value) for key, value in data["d"]}
