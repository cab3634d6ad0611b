"""What every context of the client is: the same for `with` and `async with`.

What a newcomer would get wrong
    Entering first tries `_quick`, which never waits; only then come the steps, which may.
    Leaving calls `_left`, which records and raises nothing.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from ledger.client.waiter import Steps, adrive, drive

if TYPE_CHECKING:
    from ledger.client.engine import Engine


class Context:
    """Something that is entered and left, in a thread or in a task."""

    __slots__ = ()
    _engine: Engine

    def _quick(self) -> bool:
        """Enter without waiting; False where that cannot be done."""
        return False

    def _slow(self) -> Steps[None]:
        """Enter, waiting where it must be."""
        raise NotImplementedError

    def _entered(self) -> None:
        """It was entered, by whoever runs here."""

    def _settling(self) -> Steps[None] | None:
        """What must be waited for before it is left; None: nothing."""
        return None

    def _left(self, problem: BaseException | None) -> None:
        """It was left, because of `problem` if there is one."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if not self._quick():
            drive(self._slow(), self._engine.queue.pump)
        self._entered()
        return self

    async def __aenter__(self) -> Self:
        if not self._quick():
            await adrive(self._slow())
        self._entered()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            steps = self._settling()
            if steps is not None:
                drive(steps, self._engine.queue.pump)
        finally:
            self._left(problem)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            steps = self._settling()
            if steps is not None:
                await adrive(steps)
        finally:
            self._left(problem)
