"""Tool calls and model calls: admitted and recorded when entered, recorded again when left.

What a newcomer would get wrong
    The body runs only if the act was admitted; otherwise entering raises Denied or Killed.
    Leaving never raises: what went wrong in the body is recorded, and goes on its way.
    A call that was admitted before under its id (`Ledger.admit`) is not asked for again.
    Where a full queue drops (`client.queue_full`), a call may be made and not recorded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ledger.client import admission, drafts, leases
from ledger.client.admission import Wish
from ledger.client.answers import BadValue, Denied
from ledger.client.context import Context
from ledger.client.identity import step as step_var
from ledger.client.orders import now_ms
from ledger.client.tasks import Task, this_task
from ledger.client.values import a_name, an_id, count, failure, frozen
from ledger.client.waiter import Steps
from ledger.core.verdicts import MODEL_CALLS, TOOL_CALLS

if TYPE_CHECKING:
    from ledger.client.engine import Engine
    from ledger.client.leases import HeldLease
    from ledger.client.local import LocalAgent


class _Call(Context):
    """What both kinds of calls have."""

    __slots__ = (
        "_agent", "_engine", "_generation", "_given", "_result", "_silent", "id", "step", "task",
    )  # fmt: skip

    def __init__(self, engine: Engine, agent: LocalAgent, call: str, step: str) -> None:
        self._engine, self._agent = engine, agent
        self._given = bool(call)
        self.id = an_id("call", call) if call else engine.name()
        self.step = a_name("step", step or step_var.get())
        self._result: Any = None
        self._silent = False
        self.task: Task | None = None

    def result(self, value: Any) -> Any:
        """Say what came back; the value itself is handed through."""
        self._result = frozen(value, self._agent.run.capture)
        return value

    def _ready(self) -> bool:
        """Whether the lease may be tried: no order holds the agent, no answer was given before.

        Raises QueueFull, Closed.
        """
        engine, agent = self._engine, self._agent
        self._generation = engine.generation
        if engine.log.control_hint() != engine.orders.hint:
            engine.orders.look()
        self._silent = not engine.queue.room(agent.run.id)
        return not agent.bits and not self._given

    def _entered(self) -> None:
        self.task = this_task()
        self._agent.calls[self.id] = self

    def _pledge(self, build: Any, rest: tuple[Any, ...]) -> Steps[Any]:
        """Begin on the answer that was given before under this id; None where there is none.

        Raises BadValue for a call that runs already.
        """
        engine, agent = self._engine, self._agent
        yield from admission.held(engine, agent)
        if self.id in agent.calls:
            raise BadValue("call", self.id, "a call of this id runs already")
        pledge = engine.pledges.take(agent.run.id, agent.id, self.id)
        if pledge is not None:
            engine.queue.put(agent.run.id, build, pledge.decision.lease, *rest)
        return pledge

    def _ask(self, wish: Wish) -> Steps[HeldLease | None]:
        """Be admitted, or raise Denied or Killed."""
        self._silent = False
        decision, lease = yield from admission.admit(self._engine, self._agent, wish)
        if decision.denied:
            raise Denied(decision)
        return lease


class ToolCall(_Call):
    """One call of `tool` by an agent; `result` is recorded as a fingerprint."""

    __slots__ = ("_args", "retry_of", "tool")

    def __init__(
        self, engine: Engine, agent: LocalAgent, tool: str, args: Any,
        call: str, step: str, retry_of: str,
    ) -> None:  # fmt: skip
        super().__init__(engine, agent, call, step)
        self.tool = an_id("tool", tool)
        self._args = None if args is None else frozen(args, agent.run.capture)
        self.retry_of = a_name("retry_of", retry_of)

    def _rest(self) -> tuple[Any, ...]:
        agent = self._agent
        return (
            agent.id, self.id, self.tool, self._args, agent.run.capture, self.step, self.retry_of,
        )  # fmt: skip

    def _quick(self) -> bool:
        """From the lease, in microseconds."""
        engine, agent = self._engine, self._agent
        if not self._ready() or agent.denies:
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

    def _slow(self) -> Steps[None]:
        agent = self._agent
        if self._given:
            pledge = yield from self._pledge(drafts.tool_started, self._rest())
            if pledge is not None:
                pledge.settle(self._engine, (0, 0))
                return
        wish = Wish(
            TOOL_CALLS, drafts.tool_requested,
            (agent.id, self.id, self.tool, self._args, self.step),
            drafts.tool_started, self._rest(),
            fp=drafts.tool_fp(self.tool, self._args) if agent.denies else 0,
        )  # fmt: skip
        yield from self._ask(wish)

    def _left(self, problem: BaseException | None) -> None:
        engine, agent = self._engine, self._agent
        agent.calls.pop(self.id, None)
        if engine.generation == self._generation and not self._silent:
            engine.queue.put(
                agent.run.id, drafts.tool_ended, agent.id, self.id, self._result,
                agent.run.capture, "" if problem is None else failure(problem),
            )  # fmt: skip


class ModelCall(_Call):
    """One call of `model` by an agent. `usage` says what it took; without it nothing is known."""

    __slots__ = ("_estimates", "_lease", "_prompt", "_usage", "_used", "model", "retry_of")

    def __init__(
        self, engine: Engine, agent: LocalAgent, model: str, *, prompt: Any, tokens_estimate: int,
        microdollars_estimate: int, call: str, step: str, retry_of: str,
    ) -> None:  # fmt: skip
        super().__init__(engine, agent, call, step)
        self.model = an_id("model", model)
        self._prompt = None if prompt is None else frozen(prompt, agent.run.capture)
        self._estimates = (
            count("tokens_estimate", tokens_estimate),
            count("microdollars_estimate", microdollars_estimate),
        )
        self.retry_of = a_name("retry_of", retry_of)
        self._usage: dict[str, Any] = {"cost_known": False}
        self._used = (0, 0)
        self._lease: HeldLease | None = None
        _load_prices()

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

    def _estimated(self) -> dict[str, Any]:
        tokens, microdollars = self._estimates
        return {
            "tokens_estimate": tokens, "microdollars_estimate": microdollars, "step": self.step,
        }  # fmt: skip

    def _rest(self) -> tuple[Any, ...]:
        agent, fields = self._agent, {**self._estimated(), "retry_of": self.retry_of}
        return agent.id, self.id, self.model, self._prompt, agent.run.capture, fields

    def _quick(self) -> bool:
        engine, agent = self._engine, self._agent
        if not self._ready():
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
        agent, (tokens, microdollars) = self._agent, self._estimates
        if self._given:
            pledge = yield from self._pledge(drafts.model_started, self._rest())
            if pledge is not None:
                self._lease, self._estimates = pledge.lease, pledge.estimated
                return
        wish = Wish(
            MODEL_CALLS, drafts.model_requested,
            (agent.id, self.id, self.model, self._prompt, self._estimated()),
            drafts.model_started, self._rest(), tokens=tokens, microdollars=microdollars,
        )  # fmt: skip
        self._lease = yield from self._ask(wish)

    def _left(self, problem: BaseException | None) -> None:
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


def _load_prices() -> None:
    """Load the price table beside the first model call, which takes longer than that."""
    if not _loading:
        _loading.append(threading.Thread(target=_import_prices, name="ledger-prices", daemon=True))
        _loading[0].start()


def _import_prices() -> None:
    from ledger import prices

    prices.version()


_loading: list[threading.Thread] = []
