"""An agent that acts in this process: its acts, as context managers over admission and record.

What a newcomer would get wrong
    Entering asks, and raises Denied or Killed before the body; leaving records, and stays
    silent. One exception to the silence: a cancellation that a kill caused leaves the killed
    agent's context as Killed, so that nobody outside sees a cancellation he did not ask for.
    After a fork, contexts that were entered before belong to the parent: leaving them in the
    child records nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from contextvars import Token
from typing import TYPE_CHECKING, Any, Literal, get_args

from ledger.client import admission, drafts, leases
from ledger.client.admission import Wish
from ledger.client.answers import Denied, Killed
from ledger.client.calls import ModelCall, ToolCall
from ledger.client.context import Context
from ledger.client.identity import Identity, current
from ledger.client.identity import step as step_var
from ledger.client.local import LocalAgent
from ledger.client.orders import killed_by
from ledger.client.tasks import Task, this_task, was_cancelled_by_kill
from ledger.client.values import (
    a_name,
    an_id,
    budget_of,
    count,
    failure,
    frozen,
    names,
    one_of,
    text,
    whole,
)
from ledger.client.waiter import Steps, Waiter, adrive, drive
from ledger.client.work import Handoff, Plan
from ledger.core import events as e
from ledger.core.shapes import Contract, Mode, Units
from ledger.core.state import KILL
from ledger.core.verdicts import SPAWNS
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.local import LocalRun

MODES: tuple[Mode, ...] = get_args(Mode)
SUCCESS = (None, True, False)
SETTLING_S = 0.25
"""How long leaving an agent waits for a lease that is on its way."""
Outcome = Literal["succeeded", "failed", "cancelled", "killed"]


class Agent(Context):
    """An agent of a run. Made by `Ledger.run`, `Ledger.join` and `Agent.spawn`."""

    def __init__(self, engine: Engine, local: LocalAgent) -> None:
        self._engine, self._local = engine, local
        self.agent = local.id
        self._result: Any = None
        self._task: Task | None = None
        self._token: Token[Agent | None] | None = None
        self._outer: Agent | None = None
        self._generation = engine.generation

    @property
    def id(self) -> str:
        """The agent's id."""
        return self._local.id

    @property
    def run(self) -> str:
        """The id of its run."""
        return self._local.run.id

    @property
    def identity(self) -> Identity:
        """Who it is, to be carried to other processes."""
        local = self._local
        who = Identity(local.run.id, local.id, local.path, local.run.policy.digest)
        return who.settled_by(self._engine.queue.settle)

    # --- acts ---

    def spawn(
        self, role: str = "", *, task: str = "", agent: str = "", budget: Units | None = None,
        step: str = "", constraints: Iterable[str] = (), authority: Iterable[str] = (),
    ) -> Spawn:  # fmt: skip
        """A child to be started: entering asks, and raises Denied or Killed.

        `agent` names it (else its role does, with a number); `budget` is the ceiling for it and
        all below it. Raises BadValue.
        """
        local = self._local
        role = a_name("role", role)
        fields: dict[str, Any] = {
            "role": role, "task": text("task", task),
            "step": a_name("step", step or step_var.get()),
            "constraints": names("constraints", constraints),
            "authority": names("authority", authority), "budget": budget_of(budget),
        }  # fmt: skip
        id = an_id("agent", agent) if agent else self._engine.child_name(local.run, role)
        return Spawn(self._engine, local, id, fields)

    def tool_call(
        self, tool: str, args: Any = None, *, call: str = "", step: str = "", retry_of: str = ""
    ) -> ToolCall:
        """A call of a tool: entering asks. `args` is kept as a fingerprint. Raises BadValue."""
        return ToolCall(self._engine, self._local, tool, args, call, step, retry_of)

    def model_call(
        self, model: str, *, prompt: Any = None, tokens_estimate: int = 0,
        microdollars_estimate: int = 0, call: str = "", step: str = "", retry_of: str = "",
    ) -> ModelCall:  # fmt: skip
        """A call of a model: entering asks. `prompt` is kept as a fingerprint. Raises BadValue."""
        return ModelCall(
            self._engine, self._local, model, prompt=prompt, tokens_estimate=tokens_estimate,
            microdollars_estimate=microdollars_estimate, call=call, step=step, retry_of=retry_of,
        )  # fmt: skip

    def handoff(
        self, to: str, *, goal: str = "", constraints: Iterable[str] = (),
        authority: Iterable[str] = (), budget: Units | None = None, returns: str = "",
        deadline_ms: int = 0, mode: Mode = "delegate_and_wait", handoff: str = "", step: str = "",
    ) -> Handoff:  # fmt: skip
        """Offer work to agent `to`, with its contract; recorded now. Raises Killed, BadValue."""
        self._engine.look(self._local)
        contract = Contract(
            goal=text("goal", goal), constraints=names("constraints", constraints),
            authority=names("authority", authority), budget=budget_of(budget),
            returns=text("returns", returns), deadline_ms=count("deadline_ms", deadline_ms),
        )  # fmt: skip
        offer = Handoff(
            self._engine, self._local, an_id("to", to),
            an_id("handoff", handoff) if handoff else self._engine.name(),
        )  # fmt: skip
        self._put(
            drafts.with_task, e.HandoffOffered,
            {"handoff": offer.id, "to": offer.to, "mode": one_of("mode", mode, MODES),
             "contract": contract, "step": a_name("step", step or step_var.get())},
        )  # fmt: skip
        return offer

    def plan(self, goal: str = "", steps: Iterable[str] = (), *, plan: str = "") -> Plan:
        """Take a task apart into steps; recorded at once. Raises Killed, BadValue."""
        self._engine.look(self._local)
        made = Plan(
            self._engine, self._local, an_id("plan", plan) if plan else self._engine.name(), steps
        )
        self._put(
            drafts.make, e.PlanProposed,
            {"plan": made.id, "goal": text("goal", goal), "steps": made.steps},
        )  # fmt: skip
        return made

    def constraint(self, words: str, *, constraint: str = "") -> str:
        """Declare what this agent and whoever it hands on to must keep to; its id. Raises
        Killed, BadValue."""
        self._engine.look(self._local)
        id = an_id("constraint", constraint) if constraint else self._engine.name()
        self._put(
            drafts.make, e.ConstraintDeclared, {"constraint": id, "text": text("text", words)}
        )
        return id

    def output(self, value: Any = None, *, kind: str = "", output: str = "") -> str:
        """Say that something was made that others may use; its id. Raises Killed, BadValue."""
        self._engine.look(self._local)
        id = an_id("output", output) if output else self._engine.name()
        fields = {"output": id, "kind": a_name("kind", kind)}
        self._put(drafts.with_result, e.OutputProduced, fields, frozen(value, 0))
        return id

    def verify(self, output: str, passed: bool, *, note: str = "", value: Any = None) -> None:
        """Say that an output was checked, with what outcome. Raises Killed, BadValue."""
        self._engine.look(self._local)
        fields = {
            "output": an_id("output", output), "passed": bool(passed), "note": text("note", note),
        }  # fmt: skip
        self._put(drafts.with_result, e.OutputVerified, fields, frozen(value, 0))

    def check(self) -> None:
        """Raise Killed if this agent was killed, wait while it is paused: for long work between
        calls. Raises Denied after a pause that was too long. In a task, `acheck` waits better."""
        drive(admission.held(self._engine, self._local), self._engine.queue.pump)

    async def acheck(self) -> None:
        """As `check`, without blocking the loop."""
        await adrive(admission.held(self._engine, self._local))

    def result(self, value: Any) -> Any:
        """Say what the agent came to; the value itself is handed through."""
        self._result = frozen(value, 0)
        return value

    def _put(self, build: Any, cls: type[e.Event], fields: dict[str, Any], *more: Any) -> None:
        fields["agent"] = self._local.id
        if self._engine.queue.room(self.run):
            self._engine.queue.put(self.run, build, cls, fields, *more)

    # --- coming and going ---

    def _slow(self) -> Steps[None]:
        """Admit and record the start; a joined agent has started elsewhere."""
        yield from admission.held(self._engine, self._local)
        self._local.handles += 1

    def _finish(self, outcome: Outcome, error: str) -> None:
        """Record the end; a joined agent ends elsewhere."""

    def _entered(self) -> None:
        local = self._local
        self._generation = self._engine.generation
        self._outer = current.get()
        self._token = current.set(self)
        self._task = this_task()
        if self._task is not None:
            local.tasks.append(self._task)
            if local.bits & KILL:
                self._task.cancel(local.order)

    def _settling(self) -> Steps[None] | None:
        """Wait for a lease that is on its way: the end of its agent would forfeit it."""
        request = self._local.renewing
        if request is None or self._generation != self._engine.generation:
            return None
        waiter = Waiter()
        request.join(waiter)
        return waiter.steps(SETTLING_S)

    def _left(self, problem: BaseException | None) -> None:
        self._put_back()
        with contextlib.suppress(LedgerError):  # Leaving does not raise what the log does.
            self._engine.peek()
        if self._generation == self._engine.generation:
            local = self._local
            local.handles -= 1
            if local.handles == 0:
                leases.give_back(local, self._engine.queue)
            self._finish(*self._outcome(problem))
            local.run.forget(local)
        if self._is_our_cancellation(problem):
            raise killed_by(self._local) from None

    def _put_back(self) -> None:
        if self._token is not None:
            try:
                current.reset(self._token)
            except ValueError:
                current.set(self._outer)  # Left in another context than entered (a generator's).
            self._token = None
        if self._task is not None and self._task in self._local.tasks:
            self._local.tasks.remove(self._task)

    def _outcome(self, problem: BaseException | None) -> tuple[Outcome, str]:
        if problem is None:
            return "succeeded", ""
        if isinstance(problem, Killed) or self._local.bits & KILL:
            return "killed", failure(problem)
        return ("failed" if isinstance(problem, Exception) else "cancelled"), failure(problem)

    def _is_our_cancellation(self, problem: BaseException | None) -> bool:
        """Whether a kill cancelled the task and its scope ends here; the cancellation with it."""
        task, outer = self._task, self._outer
        if task is None or not task.cancelled:
            return False
        if outer is not None and outer._task is task and outer._local.bits & KILL:
            return False
        task.uncancel()
        return was_cancelled_by_kill(problem)


class Spawn(Agent):
    """An agent that starts when entered, if the judge allows, and ends when left."""

    def __init__(self, engine: Engine, parent: LocalAgent, id: str, fields: dict[str, Any]) -> None:
        super().__init__(engine, LocalAgent(parent.run, id, (*parent.path, parent.id)))
        self._parent, self._fields = parent, fields

    def _slow(self) -> Steps[None]:
        parent, fields = self._parent, self._fields
        local = self._local = parent.run.agent(self._local.id, self._local.path)
        local.handles += 1
        try:
            yield from self._ask(parent, fields)
        except BaseException:
            local.handles -= 1
            parent.run.forget(local)
            raise

    def _ask(self, parent: LocalAgent, fields: dict[str, Any]) -> Steps[None]:
        yield from admission.held(self._engine, self._local)
        wish = Wish(
            SPAWNS, drafts.with_task, (e.SpawnRequested, {**fields, "agent": parent.id,
                                                          "child": self._local.id}),
            drafts.agent_started, ({**fields, "agent": self._local.id, "parent": parent.id},),
        )  # fmt: skip
        decision, _ = yield from admission.admit(self._engine, parent, wish)
        if decision.denied:
            raise Denied(decision)

    def _finish(self, outcome: Outcome, error: str) -> None:
        local, queue = self._local, self._engine.queue
        fields = {"agent": local.id, "outcome": outcome, "error": error}
        queue.put(local.run.id, drafts.with_result, e.AgentEnded, fields, self._result)


class Run(Agent):
    """A run and its lead agent: starts when entered, ends when left. `id` is the run's id."""

    def __init__(self, engine: Engine, run: LocalRun, lead: str, fields: dict[str, Any]) -> None:
        super().__init__(engine, run.agent(lead, ()))
        self._fields = fields

    @property
    def id(self) -> str:
        """The run's id; the lead's is `agent`."""
        return self._local.run.id

    def outcome(
        self, success: bool | None = None, *, score_millionths: int | None = None, by: str = "",
        note: str = "",
    ) -> None:  # fmt: skip
        """Say what the run was worth; may also be said days later, by `Ledger.record`."""
        fields = {
            "success": one_of("success", success, SUCCESS),
            "score_millionths": None if score_millionths is None else whole(
                "score_millionths", score_millionths), "by": a_name("by", by),
            "note": text("note", note),
        }  # fmt: skip
        self._put(drafts.make, e.OutcomeReported, fields)

    def _slow(self) -> Steps[None]:
        self._engine.begin()
        yield from admission.held(self._engine, self._local)
        self._engine.queue.room(self.run, must=True)
        fields = {**self._fields, "agent": self._local.id}
        self._engine.queue.put(self.run, drafts.with_task, e.RunStarted, fields)
        self._local.handles += 1

    def _finish(self, outcome: Outcome, error: str) -> None:
        run = self._local.run
        self._engine.give_back(run)
        fields = {"agent": self._local.id, "outcome": outcome, "error": error}
        self._engine.queue.put(run.id, drafts.make, e.RunEnded, fields)
        run.ended = True
