"""What a client needs of a log, whichever it is: a file on one machine, or topics of a fleet.

What a newcomer would get wrong
    A position (`pos`) is a number that grows, and belongs to the log object that gave it. An
    offset is one of the partition that the run lives in; only together with its run does it name
    an event. A file is one partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ledger.core.state import Run
    from ledger.log.rows import ControlRow, Row, VerdictRow


class ClientBell(Protocol):
    """Something that one thread waits on."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s`. True when rung, also when that was before."""

    def __enter__(self) -> ClientBell: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        at: TracebackType | None,
    ) -> None: ...


class ClientLog(Protocol):
    """A log as a client uses it. Every method may raise LogError."""

    path: str

    def append(self, batch: Sequence[tuple[str, bytes]]) -> list[int]:
        """Put (run, value) pairs into the log; their offsets. On return they are durable.

        When it raises, nothing is acknowledged: send the same again, in the same order.
        """

    def append_order(self, run: str, value: bytes) -> int:
        """Put an order into the log and before everybody's eyes; its offset."""

    def record_policy(self, digest: str, text: str, *, run: str, value: bytes) -> bool:
        """Keep a policy's text where every judge finds it, unless it is there; True if new."""

    def policy(self, digest: str) -> str | None:
        """The text of a recorded policy."""

    def refuse(self, source: str, reason: str, value: bytes) -> object:
        """Keep bytes that are no event, with the reason."""

    def follow(self, run: str) -> None:
        """From now on hear what is said of this run. To be called before its first event."""

    def still_follow(self, runs: Iterable[str]) -> None:
        """These runs and no others need be heard; called now and then."""

    def read_run(self, run: str, limit: int, *, after_offset: int) -> list[Row]:
        """At most `limit` events of one run after an offset, in order."""

    def verdicts(self, after_pos: int, limit: int) -> list[VerdictRow]:
        """At most `limit` verdicts after `after_pos`, of the runs that are followed at least."""

    def verdicts_end(self) -> int:
        """The position after which verdicts are new."""

    def control(self, after_pos: int, limit: int) -> list[ControlRow]:
        """At most `limit` orders after `after_pos`, in order; 0 is before the first."""

    def control_end(self) -> int:
        """The position of the last order."""

    def control_hint(self) -> int:
        """`control_end()` as this process knows it, in a fraction of a microsecond."""

    def run_as_judged(self, run: str) -> Run | None:
        """The run as the judge last wrote it down; reads much. None: it knows no such run."""

    def register_holder(self, source: str) -> None:
        """Say that this process is behind `source`, where a log can prove processes dead."""

    def forget_holders(self, sources: Iterable[str]) -> None:
        """Take these sources off the list."""

    def bell(self, kind: str, source: str = "") -> ClientBell:
        """Something to wait on for news: kind `client`."""

    def ring(self, kind: str = "", source: str | None = None) -> object:
        """Wake who waits on a bell."""

    def close(self) -> None:
        """Let go; a later use raises LogClosed."""
