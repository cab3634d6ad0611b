"""Tool calls and model calls: admitted and recorded when entered, recorded again when left.

What a newcomer would get wrong
    The body runs only if the act was admitted; otherwise entering raises Denied or Killed.
    Leaving never raises: what went wrong in the body is recorded, and goes on its way.
    A call that was admitted before under its id (`Ledger.admit`) is not asked for again.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ledger.client import admission, drafts, leases
from ledger.client.admission import Wish
from ledger.client.answers import BadValue, Denied
from ledger.client.identity import step as step_var
from ledger.client.orders import now_ms
from ledger.client.tasks import Task, this_task
from ledger.client.values import a_name, an_id, count, failure, frozen
from ledger.client.waiter import Steps, adrive, drive
from ledger.core.verdicts import MODEL_CALLS, TOOL_CALLS

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.leases import HeldLease
    from ledger.client.local import LocalAgent


class ToolCall:
    """One call of `tool` by an agent; `result` is recorded as a fingerprint."""

    __slots__ = (
        "_agent", "_args", "_engine", "_generation", "_more", "_result", "_silent", "_given",
        "id", "task", "tool",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, agent: LocalAgent, tool: str, args: Any,
        call: str, step: str, retry_of: str,
    ) -> None:  # fmt: skip
        self._engine, self._agent = engine, agent
        self.tool = an_id("tool", tool)
        self._args = None if args is None else frozen(args, agent.run.capture)
        self._given = bool(call)
        self.id = an_id("call", call) if call else engine.name()
        step = step or step_var.get()
        self._more = None
        if step or retry_of:
            self._more = (a_name("step", step), a_name("retry_of", retry_of))
        self._result: Any = None
        self._silent = False
        self.task: Task | None = None

    def result(self, value: Any) -> Any:
        """Say what came back; the value itself is handed through."""
        self._result = frozen(value, self._agent.run.capture)
        return value

    def __enter__(self) -> Self:
        if not self._quick():
            drive(self._slow(), self._engine.queue.pump)
        self._agent.calls[self.id] = self
        return self

    async def __aenter__(self) -> Self:
        if not self._quick():
            await adrive(self._slow())
        self.task = this_task()
        self._agent.calls[self.id] = self
        return self

    def _quick(self) -> bool:
        """From the lease, in microseconds; False where more is to be done."""
        engine, agent = self._engine, self._agent
        self._generation = engine.generation
        if engine.log.control_hint() != engine.orders.hint:
            engine.orders.look()
        self._silent = not engine.queue.room(agent.run.id)
        if agent.bits or agent.denies or self._given:
            return False
        lease = leases.take(
            agent, TOOL_CALLS, -1, 0, engine.queue,
            None if self._silent else drafts.tool_started, self._rest(),
        )  # fmt: skip
        if lease is None:
            return False
        if lease.low and agent.renewing is None and lease.used_ns >= agent.denied_until_ns:
            admission.renew(engine, agent, TOOL_CALLS)
        return True

    def _rest(self) -> tuple[Any, ...]:
        agent = self._agent
        return agent.id, self.id, self.tool, self._args, agent.run.capture, self._more

    def _slow(self) -> Steps[None]:
        engine, agent = self._engine, self._agent
        self._silent = False
        if self._given and (
            yield from _given(engine, agent, self.id, drafts.tool_started, self._rest())
        ):
            return
        step = self._more[0] if self._more else ""
        wish = Wish(
            TOOL_CALLS, drafts.tool_requested, (agent.id, self.id, self.tool, self._args, step),
            drafts.tool_started, self._rest(),
            fp=drafts.tool_fp(self.tool, self._args) if agent.denies else 0,
        )  # fmt: skip
        decision, _ = yield from admission.admit(engine, agent, wish)
        if decision.denied:
            raise Denied(decision)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        engine, agent = self._engine, self._agent
        agent.calls.pop(self.id, None)
        if engine.generation == self._generation and not self._silent:
            engine.queue.put(
                agent.run.id, drafts.tool_ended, agent.id, self.id, self._result,
                agent.run.capture, "" if problem is None else failure(problem),
            )  # fmt: skip

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.__exit__(kind, problem, at)


class ModelCall:
    """One call of `model` by an agent. `usage` says what it took; without it nothing is known."""

    __slots__ = (
        "_agent", "_engine", "_estimates", "_generation", "_given", "_lease", "_prompt", "_result",
        "_silent", "_usage", "_used", "id", "model", "retry_of", "step", "task",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, agent: LocalAgent, model: str, *, prompt: Any, tokens_estimate: int,
        microdollars_estimate: int, call: str, step: str, retry_of: str,
    ) -> None:  # fmt: skip
        self._engine, self._agent = engine, agent
        self.model = an_id("model", model)
        self._prompt = None if prompt is None else frozen(prompt, agent.run.capture)
        self._estimates = (
            count("tokens_estimate", tokens_estimate),
            count("microdollars_estimate", microdollars_estimate),
        )
        self._given = bool(call)
        self.id = an_id("call", call) if call else engine.name()
        self.step = a_name("step", step or step_var.get())
        self.retry_of = a_name("retry_of", retry_of)
        self._result: Any = None
        self._usage: dict[str, Any] = {"cost_known": False}
        self._used = (0, 0)
        self._lease: HeldLease | None = None
        self._silent = False
        self.task: Task | None = None
        _load_prices()

    def result(self, value: Any) -> Any:
        """Say what came back; the value itself is handed through."""
        self._result = frozen(value, self._agent.run.capture)
        return value

    def usage(
        self, *, input_tokens: int = 0, output_tokens: int = 0, cache_read_tokens: int = 0,
        cache_write_tokens: int = 0, cost_microdollars: int | None = None, provider: str = "",
    ) -> None:  # fmt: skip
        """Say what the call took. `input_tokens` excludes what the two cache counts hold.

        Without `cost_microdollars` the price table says; a model that it does not know is said
        once by an UnknownPrice warning, and recorded as of unknown cost. Raises BadValue.
        """
        tokens = {
            "input_tokens": count("input_tokens", input_tokens),
            "output_tokens": count("output_tokens", output_tokens),
            "cache_read_tokens": count("cache_read_tokens", cache_read_tokens),
            "cache_write_tokens": count("cache_write_tokens", cache_write_tokens),
        }
        if cost_microdollars is None:
            from ledger import prices

            cost, table = prices.cost(self.model, provider=provider, **tokens)
        else:
            cost, table = count("cost_microdollars", cost_microdollars), ""
        self._usage = {
            **tokens, "cost_microdollars": cost or 0, "cost_known": cost is not None,
            "prices": table,
        }  # fmt: skip
        self._used = (sum(tokens.values()), cost or 0)

    def __enter__(self) -> Self:
        if not self._quick():
            drive(self._slow(), self._engine.queue.pump)
        self._agent.calls[self.id] = self
        return self

    async def __aenter__(self) -> Self:
        if not self._quick():
            await adrive(self._slow())
        self.task = this_task()
        self._agent.calls[self.id] = self
        return self

    def _rest(self) -> tuple[Any, ...]:
        agent, (tokens, microdollars) = self._agent, self._estimates
        fields = {
            "tokens_estimate": tokens, "microdollars_estimate": microdollars,
            "step": self.step, "retry_of": self.retry_of,
        }  # fmt: skip
        return agent.id, self.id, self.model, self._prompt, agent.run.capture, fields

    def _quick(self) -> bool:
        engine, agent = self._engine, self._agent
        self._generation = engine.generation
        if engine.log.control_hint() != engine.orders.hint:
            engine.orders.look()
        self._silent = not engine.queue.room(agent.run.id)
        if agent.bits or self._given:
            return False
        tokens, microdollars = self._estimates
        self._lease = lease = leases.take(
            agent, MODEL_CALLS, tokens, microdollars, engine.queue,
            None if self._silent else drafts.model_started, self._rest(),
        )  # fmt: skip
        if lease is None:
            return False
        if lease.low and agent.renewing is None and lease.used_ns >= agent.denied_until_ns:
            admission.renew(engine, agent, MODEL_CALLS, tokens, microdollars)
        return True

    def _slow(self) -> Steps[None]:
        engine, agent = self._engine, self._agent
        self._silent = False
        tokens, microdollars = self._estimates
        if self._given:
            pledge = yield from _given(engine, agent, self.id, drafts.model_started, self._rest())
            if pledge is not None:
                self._lease, self._estimates = pledge.lease, pledge.estimated
                return
        fields = {
            "tokens_estimate": tokens, "microdollars_estimate": microdollars, "step": self.step,
        }  # fmt: skip
        wish = Wish(
            MODEL_CALLS, drafts.model_requested,
            (agent.id, self.id, self.model, self._prompt, fields),
            drafts.model_started, self._rest(), tokens=tokens, microdollars=microdollars,
        )  # fmt: skip
        decision, self._lease = yield from admission.admit(engine, agent, wish)
        if decision.denied:
            raise Denied(decision)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        engine, agent = self._engine, self._agent
        agent.calls.pop(self.id, None)
        if engine.generation != self._generation:
            return
        if not self._silent:
            fields = {**self._usage, "error": "" if problem is None else failure(problem)}
            engine.queue.put(
                agent.run.id, drafts.model_ended, agent.id, self.id, self._result,
                agent.run.capture, fields,
            )  # fmt: skip
        agent.run.ends.append((now_ms(), agent.id, *self._used))
        if self._lease is not None:
            leases.settle(
                agent, self._lease, engine.queue, estimated=self._estimates, used=self._used
            )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.__exit__(kind, problem, at)


def _given(
    engine: Engine, agent: LocalAgent, call: str, build: Any, rest: tuple[Any, ...]
) -> Steps[Any]:
    """Begin a call on the pledge it was given before under its id; None where there is none.

    Raises BadValue for a call that runs already.
    """
    yield from admission.held(engine, agent)
    if call in agent.calls:
        raise BadValue("call", call, "a call of this id runs already")
    pledge = engine.pledges.take(agent.run.id, agent.id, call)
    if pledge is None:
        return None
    engine.queue.put(agent.run.id, build, pledge.decision.lease, *rest)
    if build is drafts.tool_started:
        pledge.settle(engine, (0, 0))
    return pledge


def _load_prices() -> None:
    """Load the price table beside the first model call, which takes longer than that."""
    if not _loading:
        _loading.append(threading.Thread(target=_import_prices, name="ledger-prices", daemon=True))
        _loading[0].start()


def _import_prices() -> None:
    from ledger import prices

    prices.version()


_loading: list[threading.Thread] = []
