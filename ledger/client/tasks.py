"""The asyncio task that runs here, and how a kill cancels it. Imports no asyncio itself.

What a newcomer would get wrong
    Whoever cancels a task must also end the cancellation: at the edge of what was killed it is
    taken back and becomes Killed, as `asyncio.timeout` does with its own.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

KILLED = "killed by the ledger"
"""The message of the cancellations that a kill makes."""


class Task:
    """An asyncio task that acts for agents; `cancelled` while a kill wants it gone."""

    __slots__ = ("__weakref__", "_delivered", "_loop", "_order", "_task", "cancelled")

    def __init__(self, task: Any) -> None:
        self._loop, self._task = task.get_loop(), weakref.ref(task)
        self.cancelled = self._delivered = False
        self._order = ""

    def cancel(self, order: str) -> None:
        """Cancel it from any thread, once for each order, though it act for many agents."""
        if order == self._order:
            return
        self._order, self.cancelled = order, True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # Its loop is closed.

    def _deliver(self) -> None:
        task = self._task()
        if task is not None and self.cancelled and not self._delivered:
            self._delivered = task.cancel(KILLED)

    def uncancel(self) -> None:
        """The cancellation ends here, also one that is on its way."""
        task = self._task()
        if task is not None and self._delivered:
            task.uncancel()
        self.cancelled = self._delivered = False


_tasks: weakref.WeakKeyDictionary[Any, Task] = weakref.WeakKeyDictionary()


def this_task() -> Task | None:
    """The task that runs here; None outside of asyncio."""
    asyncio = sys.modules.get("asyncio")
    # Another thread may still be importing it: then nothing runs under it here.
    running = getattr(asyncio, "_get_running_loop", None)
    loop = None if running is None else running()
    task = None if loop is None else sys.modules["asyncio"].current_task(loop)
    if task is None:
        return None
    found = _tasks.get(task)
    if found is None:
        found = _tasks[task] = Task(task)
    return found


def was_cancelled_by_kill(problem: BaseException | None) -> bool:
    """Whether this is the exception that `Task.cancel` makes."""
    return type(problem).__name__ == "CancelledError" and KILLED in getattr(problem, "args", ())
