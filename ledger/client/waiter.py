"""One wait for one answer, by a thread or by an asyncio task, settled from any thread.

What a newcomer would get wrong
    Code that may have to wait is written once, as a generator that yields (waiter, seconds) and
    is sent the answer, or None when it took too long. `drive` runs it in a thread, `adrive` in
    a task. Nothing here is on the path of an act that needs no wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator["tuple[Waiter, float]", Any, T]


class Waiter:
    """Settled once, with an answer that is not None; later answers are ignored.

    A kill of the agent settles every waiter of it; with `any_order`, each order does.
    """

    __slots__ = ("_open", "_wake", "answer", "any_order")

    def __init__(self, *, any_order: bool = False) -> None:
        self.answer: Any = None
        self._open = [True]
        self.any_order = any_order
        self._wake: Callable[[], object] | None = None

    def settle(self, answer: Any) -> bool:
        """Give the answer and wake who waits; False where there is one already."""
        try:
            self._open.pop()  # Of two at once, one gets it.
        except IndexError:
            return False
        self.answer = answer
        wake = self._wake
        if wake is not None:
            with suppress(RuntimeError):  # The loop of the waiting task is closed.
                wake()
        return True

    def wait(self, timeout_s: float) -> Any:
        """The answer, or None after `timeout_s`."""
        gate = threading.Lock()
        gate.acquire()
        self._wake = gate.release
        # Looked at after `_wake` is set, and `settle` the other way round: no answer is missed.
        if self.answer is None:
            gate.acquire(timeout=max(0.0, timeout_s))
        return self.answer

    def steps(self, timeout_s: float) -> Steps[None]:
        """One wait, as steps."""
        yield self, timeout_s

    async def wait_async(self, timeout_s: float) -> Any:
        """The answer, or None after `timeout_s`, without blocking the loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        self._wake = lambda: loop.call_soon_threadsafe(finish)
        if self.answer is None:
            late = loop.call_later(max(0.0, timeout_s), finish)
            try:
                await done
            finally:
                late.cancel()
        return self.answer


def drive(steps: Steps[T], send: Callable[[], object]) -> T:
    """Run the steps in this thread, which blocks while they wait.

    `send` is called before each wait: who waits for an answer sends the question himself.
    """
    try:
        waiter, timeout_s = next(steps)
        while True:
            if waiter.answer is None:
                send()
            waiter, timeout_s = steps.send(waiter.wait(timeout_s))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def adrive(steps: Steps[T]) -> T:
    """Run the steps in this task; cancelling it closes them."""
    try:
        waiter, timeout_s = next(steps)
        while True:
            waiter, timeout_s = steps.send(await waiter.wait_async(timeout_s))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
