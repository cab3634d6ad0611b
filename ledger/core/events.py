"""What agents, clients and people say happened: one frozen model an event, one JSON object each.

What a newcomer would get wrong
    An event is a fact, past tense, even when it is a request: an agent *asked*.
    What the judge says is a verdict (`verdicts.py`), never an event; the one event the
    judge writes is `ticked`.
    An event has no id of its own: it is (source, run, seq).
    `at_ms` is a claim. The time that counts is the one the log stamps (`Record.append_ms`).
    `type` is left out of no JSON; every other field that has its default is left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ledger.core.shapes import (
    SAFE_INT_MAX,
    Action,
    Contract,
    Count,
    Fingerprint,
    Grade,
    Id,
    Ids,
    Labels,
    Mode,
    Name,
    Outcome,
    Payload,
    Scope,
    Steps,
    Text,
    Units,
)  # fmt: skip


class Event(BaseModel):
    """The envelope that every event has.

    `run` is the key; `agent` the one who acts or is acted on (empty: the run as a whole);
    (`source`, `seq`) number what one publisher says of one run from 1 without gaps
    (`seq` 0: the publisher does not number, and gets at-least-once).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    type: str
    v: Literal[1] = 1
    run: Id
    agent: Name = ""
    source: Name = ""
    seq: Count = 0
    at_ms: Count = 0
    grade: Grade = "declared"


class PolicyRecorded(Event):
    """The text of a policy, written before the first run that names its digest."""

    type: Literal["policy_recorded"] = "policy_recorded"
    digest: Id
    text: Annotated[str, StringConstraints(max_length=262144)]


class RunStarted(Event):
    """A run begins: `agent` is its lead; everything that explains the run later is here."""

    type: Literal["run_started"] = "run_started"
    policy: Name = ""
    task: Text = ""
    task_key: Name = ""
    task_fp: Fingerprint = 0
    task_near: Fingerprint = 0
    tenant: Name = ""
    role: Name = ""
    effort: Name = ""
    labels: Labels = {}
    prompt_digest: Name = ""
    model_settings: Labels = {}
    code_version: Name = ""
    resumes: Name = ""
    time_known: bool = True


class RunEnded(Event):
    """A run is over, with its outcome."""

    type: Literal["run_ended"] = "run_ended"
    outcome: Outcome = "succeeded"
    error: Text = ""


class OutcomeReported(Event):
    """What the run was worth, said by a judge of results; may come days later."""

    type: Literal["outcome_reported"] = "outcome_reported"
    success: bool | None = None
    score_millionths: Annotated[int, Field(ge=-SAFE_INT_MAX, le=SAFE_INT_MAX)] | None = None
    by: Name = ""
    note: Text = ""
    labels: Labels = {}


class ConstraintDeclared(Event):
    """Something that the agent, and whoever it hands on to, must keep to."""

    type: Literal["constraint_declared"] = "constraint_declared"
    constraint: Id
    text: Text


class PlanProposed(Event):
    """A task taken apart into steps."""

    type: Literal["plan_proposed"] = "plan_proposed"
    plan: Id
    goal: Text = ""
    steps: Steps = ()


class PlanRevised(Event):
    """The steps of a plan replaced, with the reason."""

    type: Literal["plan_revised"] = "plan_revised"
    plan: Id
    steps: Steps = ()
    reason: Text = ""


class SpawnRequested(Event):
    """`agent` asks to start `child`. The verdict allows (with a lease of one spawn) or denies."""

    type: Literal["spawn_requested"] = "spawn_requested"
    child: Id
    role: Name = ""
    task: Text = ""
    task_fp: Fingerprint = 0
    task_near: Fingerprint = 0
    step: Name = ""
    constraints: Ids = ()
    authority: Ids = ()
    budget: Units | None = None


class AgentStarted(Event):
    """`agent` lives now, a child of `parent`, under the lease its spawn was admitted with."""

    type: Literal["agent_started"] = "agent_started"
    parent: Id
    lease: Name = ""
    role: Name = ""
    task: Text = ""
    task_fp: Fingerprint = 0
    task_near: Fingerprint = 0
    step: Name = ""
    constraints: Ids = ()
    authority: Ids = ()
    budget: Units | None = None


class AgentEnded(Event):
    """`agent` acts no more."""

    type: Literal["agent_ended"] = "agent_ended"
    outcome: Outcome = "succeeded"
    error: Text = ""
    result_fp: Fingerprint = 0


class ToolCallRequested(Event):
    """`agent` asks to call `tool`. The verdict allows (with a lease of one call) or denies."""

    type: Literal["tool_call_requested"] = "tool_call_requested"
    call: Id
    tool: Id
    args_fp: Fingerprint = 0
    args_near: Fingerprint = 0
    step: Name = ""


class ToolCallStarted(Event):
    """A tool runs, under a lease (empty: nobody was asked).

    `args_fp` is the fingerprint of the tool's name with its arguments; 0 is not compared.
    """

    type: Literal["tool_call_started"] = "tool_call_started"
    call: Id
    tool: Id
    lease: Name = ""
    args_fp: Fingerprint = 0
    args_near: Fingerprint = 0
    args_bytes: Count = 0
    args: Payload | None = None
    args_cut: bool = False
    step: Name = ""
    retry_of: Name = ""


class ToolCallEnded(Event):
    """A tool came back, with a result or an error."""

    type: Literal["tool_call_ended"] = "tool_call_ended"
    call: Id
    result_fp: Fingerprint = 0
    result_bytes: Count = 0
    result: Payload | None = None
    result_cut: bool = False
    error: Text = ""


class ModelCallRequested(Event):
    """`agent` asks to call `model`, with its estimate of the tokens and the cost."""

    type: Literal["model_call_requested"] = "model_call_requested"
    call: Id
    model: Id
    prompt_fp: Fingerprint = 0
    tokens_estimate: Count = 0
    microdollars_estimate: Count = 0
    step: Name = ""


class ModelCallStarted(Event):
    """A model works, under a lease (empty: nobody was asked)."""

    type: Literal["model_call_started"] = "model_call_started"
    call: Id
    model: Id
    lease: Name = ""
    prompt_fp: Fingerprint = 0
    prompt_bytes: Count = 0
    prompt: Payload | None = None
    prompt_cut: bool = False
    tokens_estimate: Count = 0
    microdollars_estimate: Count = 0
    step: Name = ""
    retry_of: Name = ""


class ModelCallEnded(Event):
    """A model answered or failed. Tokens are counted whole: cache reads and writes too.

    `input_tokens` excludes what was read from or written to a cache, so that the four add up.
    `cost_known` is false where no price was found: such a call is said, never free.
    """

    type: Literal["model_call_ended"] = "model_call_ended"
    call: Id
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    cost_microdollars: Count = 0
    cost_known: bool = True
    prices: Name = ""
    result_fp: Fingerprint = 0
    result_bytes: Count = 0
    result: Payload | None = None
    result_cut: bool = False
    error: Text = ""


class HandoffOffered(Event):
    """`agent` gives work to `to`; `transfer` gives the responsibility with it."""

    type: Literal["handoff_offered"] = "handoff_offered"
    handoff: Id
    to: Id
    mode: Mode = "delegate_and_wait"
    contract: Contract = Contract.model_construct()
    task_fp: Fingerprint = 0
    task_near: Fingerprint = 0
    step: Name = ""


class HandoffAccepted(Event):
    """`agent` took the work on."""

    type: Literal["handoff_accepted"] = "handoff_accepted"
    handoff: Id


class HandoffReturned(Event):
    """`agent` gives the result back to the giver."""

    type: Literal["handoff_returned"] = "handoff_returned"
    handoff: Id
    goal: Text = ""
    constraints: Ids = ()
    result_fp: Fingerprint = 0
    result_bytes: Count = 0


class HandoffRefused(Event):
    """`agent` does not take the work on."""

    type: Literal["handoff_refused"] = "handoff_refused"
    handoff: Id
    reason: Text = ""


class OutputProduced(Event):
    """`agent` made something that others may use."""

    type: Literal["output_produced"] = "output_produced"
    output: Id
    kind: Name = ""
    result_fp: Fingerprint = 0
    result_bytes: Count = 0


class OutputVerified(Event):
    """`agent` checked an output."""

    type: Literal["output_verified"] = "output_verified"
    output: Id
    passed: bool
    result_fp: Fingerprint = 0
    note: Text = ""


class LeaseRequested(Event):
    """The process behind `source` asks for units that `agent` may use without asking again."""

    type: Literal["lease_requested"] = "lease_requested"
    wants: Units


class LeaseReturned(Event):
    """What the holder will not use; written after its last use, so it gives the units back."""

    type: Literal["lease_returned"] = "lease_returned"
    lease: Id
    left: Units = Units.model_construct()
    closed: bool = True


class HolderLost(Event):
    """The process behind `holder` is proved dead: its leases and its agents are over."""

    type: Literal["holder_lost"] = "holder_lost"
    holder: Id
    reason: Text = ""


class OrderGiven(Event):
    """A person or a program orders a scope of the run to stop, wait or go on.

    Scope `run` needs no agent; `agent` and `subtree` name it in `agent`.
    """

    type: Literal["order_given"] = "order_given"
    order: Id
    action: Action
    scope: Scope = "run"
    reason: Text = ""
    by: Name = ""


class OrderReceipted(Event):
    """What the process behind `source` did on an order."""

    type: Literal["order_receipted"] = "order_receipted"
    order: Id
    agents_stopped: Count = 0
    calls_in_flight: Count = 0
    microdollars_since: Count = 0
    tokens_since: Count = 0


class Ticked(Event):
    """A deadline of the run is due. Moves its clock to the tick's own append time."""

    type: Literal["ticked"] = "ticked"


EVENT_TYPES: tuple[type[Event], ...] = (
    PolicyRecorded, RunStarted, RunEnded, OutcomeReported, ConstraintDeclared,
    PlanProposed, PlanRevised, SpawnRequested, AgentStarted, AgentEnded,
    ToolCallRequested, ToolCallStarted, ToolCallEnded,
    ModelCallRequested, ModelCallStarted, ModelCallEnded,
    HandoffOffered, HandoffAccepted, HandoffReturned, HandoffRefused,
    OutputProduced, OutputVerified, LeaseRequested, LeaseReturned, HolderLost,
    OrderGiven, OrderReceipted, Ticked,
)  # fmt: skip
"""Every event there is, in the order of the reference."""


class Record:
    """An event as the log holds it: its place, and when the log took it in (ms since 1970)."""

    __slots__ = ("append_ms", "event", "offset")

    def __init__(self, offset: int, append_ms: int, event: Event) -> None:
        self.offset = offset
        self.append_ms = append_ms
        self.event = event
