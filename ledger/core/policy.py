"""Limits as data: what a run may do, what each finding leads to, how long things wait.

A policy is TOML. Its identity is the digest of its canonical form (every field, defaults too,
sorted), so that a comment changes nothing and a changed default does.

What a newcomer would get wrong
    Defaults that are models are constructed unchecked (`model_construct`): the first checked one
    makes Pydantic build its class, 60 ms that every `import ledger` would pay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ledger.core.verdicts import Effect, Mode, Severity

Limit = Annotated[int, Field(ge=0, le=2**53 - 1)]
Some = Annotated[int, Field(ge=1, le=2**53 - 1)]
Slots = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Answer = Literal["proceed", "deny"]

_DATA = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class _Deriving(BaseModel):
    """A part of a policy that keeps what is worked out from its fields."""

    model_config = _DATA

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, changed by `update`; it works out its own."""
        copy = super().model_copy(update=update, deep=deep)
        for derived in copy.__dict__.keys() - type(copy).model_fields.keys():
            del copy.__dict__[derived]
        return copy


class RunLimits(_Deriving):
    """What all agents of one run may do together."""

    agents_max: Limit = Field(64, description="agents ever started in the run, its lead included")
    agents_live_max: Limit = Field(24, description="agents alive at once, the lead included")
    depth_max: Limit = Field(4, description="levels of delegation below the lead")
    tool_calls_max: Limit = Field(5_000, description="tool calls")
    model_calls_max: Limit = Field(5_000, description="model calls")
    tokens_max: Limit = Field(50_000_000, description="tokens of all kinds, cache reads included")
    microdollars_max: Limit = Field(100_000_000, description="cost, in millionths of a dollar")
    spawns_refused_max: Some = Field(
        32, description="refused spawns after which a runaway is critical"
    )

    @cached_property
    def granted(self) -> tuple[int, ...]:
        """What the run may use, in the order of `verdicts.UNITS`. Its lead counts as one spawn."""
        return _granted(self, self.agents_max)


class AgentLimits(_Deriving):
    """What one agent may do itself; its children have their own."""

    open_children_max: Limit = Field(8, description="children alive at once")
    children_max: Limit = Field(32, description="children ever started")
    tool_calls_max: Limit = Field(1_000, description="tool calls")
    model_calls_max: Limit = Field(1_000, description="model calls")
    tokens_max: Limit = Field(20_000_000, description="tokens of all kinds")
    microdollars_max: Limit = Field(40_000_000, description="cost, in millionths of a dollar")

    @cached_property
    def granted(self) -> tuple[int, ...]:
        """What the agent may use for its own acts, in the order of `verdicts.UNITS`."""
        return _granted(self, self.children_max)


def _granted(limits: RunLimits | AgentLimits, spawns: int) -> tuple[int, ...]:
    return (
        spawns,
        limits.tool_calls_max,
        limits.model_calls_max,
        limits.tokens_max,
        limits.microdollars_max,
    )


class RunOverrides(BaseModel):
    """Run limits that a tenant or an effort class sets otherwise."""

    model_config = _DATA

    agents_max: Limit | None = None
    agents_live_max: Limit | None = None
    depth_max: Limit | None = None
    tool_calls_max: Limit | None = None
    model_calls_max: Limit | None = None
    tokens_max: Limit | None = None
    microdollars_max: Limit | None = None
    spawns_refused_max: Some | None = None


class AgentOverrides(BaseModel):
    """Agent limits that a role sets otherwise."""

    model_config = _DATA

    open_children_max: Limit | None = None
    children_max: Limit | None = None
    tool_calls_max: Limit | None = None
    model_calls_max: Limit | None = None
    tokens_max: Limit | None = None
    microdollars_max: Limit | None = None


class Leases(BaseModel):
    """How much a process may hold without asking, and for how long."""

    model_config = _DATA

    ttl_ms: Annotated[int, Field(ge=100, le=86_400_000)] = Field(
        30_000, description="how long a lease holds"
    )
    spawns: Limit = Field(0, description="spawns in one lease; 0: every spawn is asked for by name")
    tool_calls: Limit = Field(64, description="tool calls in one lease, at most")
    model_calls: Limit = Field(64, description="model calls in one lease, at most")
    tokens: Limit = Field(4_000_000, description="tokens in one lease, at most")
    microdollars: Limit = Field(8_000_000, description="cost in one lease, at most")
    per_agent_max: Slots = Field(16, description="leases open for one agent at once")


class Rule(BaseModel):
    """What a finding leads to, by severity, and whether it is enforced or only said."""

    model_config = _DATA

    mode: Mode = Field("enforce", description="`evaluate_only` says what it would have done")
    info: Effect = Field("warn", description="effect of an info finding")
    warning: Effect = Field("warn", description="effect of a warning")
    critical: Effect = Field("warn", description="effect of a critical finding")
    fatal: Effect = Field("warn", description="effect of a fatal finding")

    def effect(self, severity: Severity) -> Effect:
        """What a finding of this severity leads to."""
        found: Effect = getattr(self, severity)
        return found


class RunawayFanOut(Rule):
    """Rule of `runaway_fan_out`; its limits are those of the run and the agent."""

    warning: Effect = Field("deny", description="effect of a warning")
    critical: Effect = Field("kill_run", description="effect of a critical finding")


class DelegationTooDeep(Rule):
    """Rule of `delegation_too_deep`; its limit is `run.depth_max`."""

    warning: Effect = Field("deny", description="effect of a warning")


class RepeatedStep(Rule):
    """Rule of `repeated_step`."""

    critical: Effect = Field("deny", description="effect of a critical finding")
    warn_repeats: Annotated[int, Field(ge=2, le=1_000)] = Field(
        3, description="equal rounds of a cycle before a warning"
    )
    deny_repeats: Annotated[int, Field(ge=2, le=1_000)] = Field(
        5, description="equal rounds of a cycle before it is critical"
    )
    retry_ms: Annotated[int, Field(ge=1, le=86_400_000)] = Field(
        60_000, description="how long a critical cycle rests; doubles with each equal round after"
    )


class DuplicatedWork(Rule):
    """Rule of `duplicated_work`."""

    warn_agents: Annotated[int, Field(ge=2, le=1_000)] = Field(
        3, description="agents that did the same before it is a warning; the second is an info"
    )
    near_bits: Annotated[int, Field(ge=0, le=8)] = Field(
        1, description="bits in which near fingerprints of the same task may differ"
    )
    calls_remembered: Annotated[int, Field(ge=1, le=4_096)] = Field(
        64, description="calls and tasks a run remembers"
    )


class Findings(BaseModel):
    """One rule a detector."""

    model_config = _DATA

    runaway_fan_out: RunawayFanOut = RunawayFanOut.model_construct()
    delegation_too_deep: DelegationTooDeep = DelegationTooDeep.model_construct()
    repeated_step: RepeatedStep = RepeatedStep.model_construct()
    duplicated_work: DuplicatedWork = DuplicatedWork.model_construct()


class Memory(BaseModel):
    """How much of a run the judge remembers."""

    model_config = _DATA

    agents_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        20_000, description="agents of one run that are known, admitted or not; more are refused"
    )
    sources_max: Slots = Field(512, description="publishers of one run; more are refused")
    calls_open_max: Slots = Field(10_000, description="calls in flight in one run")
    handoffs_open_max: Slots = Field(1_000, description="handoffs not yet returned")
    findings_max: Slots = Field(1_000, description="subjects of findings remembered in one run")
    orders_max: Slots = Field(256, description="orders remembered in one run")
    runs_live_max: Slots = Field(100_000, description="runs the judge of a partition holds")
    tombstones_max: Slots = Field(100_000, description="ended runs it remembers by name")
    linger_ms: Limit = Field(600_000, description="how long an ended run is kept whole")
    idle_ms: Limit = Field(604_800_000, description="silence after which a run is over")
    clock_jump_ms: Some = Field(3_600_000, description="a jump of log time worth a finding")
    horizon_ms: Limit = Field(604_800_000, description="age past which a UUIDv7 run is not started")


class Unreachable(BaseModel):
    """What a client does while the ledger cannot be reached: one row of PROTOCOLS 14."""

    model_config = _DATA

    spawn: Answer = Field("deny", description="a spawn without lease")
    tool_call: Answer = Field("deny", description="a tool call without lease")
    model_call: Answer = Field("deny", description="a model call without lease")
    wait_ms: Limit = Field(5_000, description="how long to wait for an answer")
    proceed_ms: Limit = Field(60_000, description="hard stop: how long `proceed` may go on")


class Client(BaseModel):
    """How clients of the ledger behave."""

    model_config = _DATA

    queue_max: Slots = Field(100_000, description="events waiting to be written in one process")
    queue_full: Literal["wait", "drop", "raise"] = Field(
        "wait", description="what `record` does when the queue is full"
    )
    pause_max_ms: Limit = Field(3_600_000, description="how long a paused agent waits")
    capture: Literal["none", "payloads"] = Field(
        "none", description="keep arguments, results, prompts and outputs, or fingerprints only"
    )
    capture_bytes_max: Annotated[int, Field(ge=0, le=16_384)] = Field(
        8_192, description="a larger payload is cut to its fingerprint, and says so"
    )


class Policy(_Deriving):
    """Everything that is configurable about judging a run."""

    name: Name = "default"
    run: RunLimits = RunLimits.model_construct()
    agent: AgentLimits = AgentLimits.model_construct()
    roles: Annotated[dict[Name, AgentOverrides], Field(max_length=1_000)] = {}
    tenants: Annotated[dict[Name, RunOverrides], Field(max_length=1_000)] = {}
    efforts: Annotated[dict[Name, RunOverrides], Field(max_length=100)] = {}
    lease: Leases = Leases.model_construct()
    findings: Findings = Findings.model_construct()
    memory: Memory = Memory.model_construct()
    unreachable: Unreachable = Unreachable.model_construct()
    client: Client = Client.model_construct()

    @cached_property
    def text(self) -> str:
        """The canonical form: JSON, every field, sorted. This is what the log records."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """The identity: the first 32 hex digits of SHA-256 over `text`."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]

    def for_run(self, tenant: str, effort: str) -> RunLimits:
        """The limits of such a run; where tenant and effort class both speak, the tighter holds."""
        if effort not in self.efforts and tenant not in self.tenants:
            return self.run  # Shared: limits of its own would weigh 1 kB a run.
        no = RunOverrides()
        by_effort = self.efforts.get(effort, no).model_dump(exclude_none=True)
        by_tenant = self.tenants.get(tenant, no).model_dump(exclude_none=True)
        both = {
            name: min(by_effort[name], by_tenant[name]) for name in by_effort.keys() & by_tenant
        }
        return RunLimits(**{**self.run.model_dump(), **by_effort, **by_tenant, **both})

    def for_agent(self, role: str) -> AgentLimits:
        """The limits of an agent in this role."""
        return self.limits_by_role.get(role, self.agent)

    @cached_property
    def limits_by_role(self) -> dict[str, AgentLimits]:
        """The limits of each role that has its own: one object for all agents in it."""
        both = self.agent.model_dump()
        return {
            role: AgentLimits.model_construct(**both | overrides.model_dump(exclude_none=True))
            for role, overrides in self.roles.items()
        }


def from_toml(text: str) -> Policy:
    """The policy that this TOML says. Raises TOMLDecodeError or ValidationError."""
    import tomllib  # Agents seldom have a policy to read.

    return Policy.model_validate(tomllib.loads(text))


def from_text(text: str) -> Policy:
    """The policy whose canonical form this is. Raises pydantic.ValidationError."""
    return Policy.model_validate_json(text)


DEFAULT = Policy.model_construct()
"""A safe policy that a stranger can use untouched."""
