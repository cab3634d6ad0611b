"""Functions as agents, tool calls and model calls: decorators for plain and async functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ledger.client.identity import here

F = TypeVar("F", bound=Callable[..., Any])


def agent(
    role: str = "", *, task: str | Callable[..., str] = "", **options: Any
) -> Callable[[F], F]:
    """The function becomes a child of whoever calls it; its body runs if the spawn is allowed.

    `task` is a text, in which `{name}` stands for an argument, or a function of the arguments;
    left out, the call itself says what the task is. `options` are those of `Agent.spawn`.
    Calling raises Denied, Killed, NoAgent.
    """

    def decorate(function: F) -> F:
        said = _task(function, task)
        name = role or function.__name__

        def enter(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return here().spawn(name, task=said(args, named), **options)

        return _around(function, enter)

    return decorate


def tool(name: str = "", **options: Any) -> Callable[[F], F]:
    """Each call of the function is a tool call of whoever calls it, with its arguments.

    Calling raises Denied, Killed, NoAgent.
    """

    def decorate(function: F) -> F:
        bound = _binder(function)

        def enter(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return here().tool_call(name or function.__name__, bound(args, named), **options)

        return _around(function, enter)

    return decorate


def model(
    name: str, *, usage: Callable[[Any], Mapping[str, Any]] | None = None, **options: Any
) -> Callable[[F], F]:
    """Each call of the function is a model call of whoever calls it.

    `usage` takes what the function returned and gives the arguments of `ModelCall.usage`.
    Calling raises Denied, Killed, NoAgent.
    """

    def decorate(function: F) -> F:
        bound = _binder(function)

        def enter(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return here().model_call(name, prompt=bound(args, named), **options)

        def used(call: Any, value: Any) -> None:
            if usage is not None:
                call.usage(**usage(value))

        return _around(function, enter, used)

    return decorate


def _around(
    function: F,
    enter: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    used: Callable[[Any, Any], None] = lambda call, value: None,
) -> F:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **named: Any) -> Any:
            async with enter(args, named) as act:
                value = await function(*args, **named)
                used(act, value)
                return act.result(value)

        return later  # type: ignore[return-value]

    @functools.wraps(function)
    def now(*args: Any, **named: Any) -> Any:
        with enter(args, named) as act:
            value = function(*args, **named)
            used(act, value)
            return act.result(value)

    return now  # type: ignore[return-value]


def _binder(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """What turns a call's arguments into a dictionary by name; `self` is left out."""
    signature = inspect.signature(function)

    def bound(args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        found = signature.bind(*args, **named)
        found.apply_defaults()
        return {name: value for name, value in found.arguments.items() if name != "self"}

    return bound


def _task(
    function: Callable[..., Any], task: str | Callable[..., str]
) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    if callable(task):
        return lambda args, named: task(*args, **named)
    bound = _binder(function)
    if task:
        return lambda args, named: task.format(**bound(args, named))

    def call(args: tuple[Any, ...], named: dict[str, Any]) -> str:
        words = [f"{name}={value!r:.200}" for name, value in bound(args, named).items()]
        return f"{function.__name__}({', '.join(words)})"

    return call
