"""Plans and handoffs: how an agent takes work apart and gives it on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ledger.client import drafts
from ledger.client.answers import BadValue, Denied
from ledger.client.context import Context
from ledger.client.identity import step as step_var
from ledger.client.values import failure, frozen, names, text
from ledger.core import events as e
from ledger.core.shapes import Step

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.local import LocalAgent

STEPS_MAX = 256


class Plan:
    """Steps with ids; what is done inside `with plan.step(1)` cites the first step."""

    def __init__(
        self, engine: Engine, agent: LocalAgent, id: str, steps: Iterable[str | Step]
    ) -> None:
        self._engine, self._agent = engine, agent
        self.id = id
        self.steps = _steps(steps)

    def revise(self, steps: Iterable[str | Step], *, reason: str = "") -> None:
        """Replace the steps. Raises Killed, BadValue."""
        self._engine.look(self._agent)
        self.steps = _steps(steps)
        fields = {
            "agent": self._agent.id, "plan": self.id, "steps": self.steps,
            "reason": text("reason", reason),
        }  # fmt: skip
        self._engine.queue.put(self._agent.run.id, drafts.make, e.PlanRevised, fields)

    @contextmanager
    def step(self, step: int | str) -> Iterator[Step]:
        """Work on one step (its place from 1, or its id): spawns and calls inside cite it."""
        found = [s for n, s in enumerate(self.steps, 1) if step in (n, s.id)]
        if not found:
            raise BadValue("step", step, f"plan {self.id} has {[s.id for s in self.steps]}")
        token = step_var.set(found[0].id)
        try:
            yield found[0]
        finally:
            step_var.reset(token)


def _steps(steps: Iterable[str | Step]) -> tuple[Step, ...]:
    made = tuple(
        step if isinstance(step, Step) else Step(id=f"s{n}", text=text("step", step))
        for n, step in enumerate(steps, 1)
    )
    if len(made) > STEPS_MAX:
        raise BadValue("steps", len(made), f"a plan has at most {STEPS_MAX} steps")
    return made


class Handoff(Context):
    """Work offered to agent `to`. As a context: accepted when entered, and when left returned,
    or refused if the body failed. Answers that were given inside are not given twice."""

    def __init__(self, engine: Engine, agent: LocalAgent, to: str, id: str) -> None:
        self._engine, self._agent = engine, agent
        self.to, self.id = to, id
        self._closed = False
        self._result: Any = None
        self._generation = engine.generation

    def accept(self) -> None:
        """`to` takes the work on."""
        self._engine.look(self._agent)
        self._put(drafts.make, e.HandoffAccepted, {})

    def refuse(self, reason: str = "") -> None:
        """`to` does not take the work on."""
        self._close(drafts.make, e.HandoffRefused, {"reason": text("reason", reason)})

    def returned(
        self, result: Any = None, *, goal: str = "", constraints: Iterable[str] = ()
    ) -> None:
        """`to` gives the result back, with the goal and the constraints as it understood them."""
        fields = {"goal": text("goal", goal), "constraints": names("constraints", constraints)}
        self._close(drafts.with_result, e.HandoffReturned, fields, frozen(result, 0))

    def result(self, value: Any) -> Any:
        """Say what leaving the context will return; the value itself is handed through."""
        self._result = value
        return value

    def _quick(self) -> bool:
        self.accept()
        return True

    def _left(self, problem: BaseException | None) -> None:
        if self._closed or self._generation != self._engine.generation:
            return
        if problem is None:
            self.returned(self._result)
        else:
            self.refuse(
                problem.decision.reason if isinstance(problem, Denied) else failure(problem)
            )

    def _close(self, build: Any, cls: type[e.Event], fields: dict[str, Any], *more: Any) -> None:
        self._closed = True
        self._put(build, cls, fields, *more)

    def _put(self, build: Any, cls: type[e.Event], fields: dict[str, Any], *more: Any) -> None:
        fields.update(agent=self.to, handoff=self.id)
        self._engine.queue.put(self._agent.run.id, build, cls, fields, *more)
