"""What the demo plays on: a log that is a file, or topics of its own on Kafka.

The story is the same on both; here is what differs: how the log is made, who is asked whether
everything is judged, and what has to be removed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ledger import wire
from ledger.core.events import PolicyRecorded
from ledger.core.policy import DEFAULT

if TYPE_CHECKING:
    from ledger.log.rows import Row, VerdictRow

NAME = "ledger-demo"


class Part(Protocol):
    """The partition that the run lives in."""

    def read(self, after_offset: int, limit: int) -> Sequence[Row]:
        """Events after an offset."""

    def verdicts(self, after_pos: int, limit: int, run: str | None = None) -> Sequence[VerdictRow]:
        """Verdicts after a position."""


class Ground(Protocol):
    """A log for one demo. `url` names it for `connect`, `shown` for people."""

    url: str
    shown: str
    archive: str
    variables: dict[str, str]
    """More for whoever judges."""
    first: int
    """Before the first offset, and before the first position of a verdict."""

    def part(self, run: str) -> Part:
        """The partition of this run."""

    def ready(self) -> bool:
        """Whether somebody judges."""

    def settled(self) -> bool:
        """Whether everything that is recorded is judged."""

    def close(self, *, keep: bool) -> None:
        """Let go; unless it shall be kept nothing of it is left outside of the demo's folder."""


class FileGround:
    """A log file in `folder`."""

    first = 0

    def __init__(self, folder: Path) -> None:
        from ledger.log.sqlite import SqliteLog

        self.url = self.shown = os.fspath(folder / "ledger.db")
        self.archive = f"{self.url}-archive"
        self.variables: dict[str, str] = {}
        self._log = SqliteLog(self.url)

    def part(self, run: str) -> Part:
        """The file."""
        return self._log

    def ready(self) -> bool:
        """A judge's heart beats."""
        from ledger.judge import judged

        return judged(self._log)

    def settled(self) -> bool:
        """The judge is at the end."""
        return self._log.judge().next_offset >= self._log.end()

    def close(self, *, keep: bool) -> None:
        """The folder goes by itself."""
        self._log.close()


class KafkaGround:
    """Topics of the demo's own, with a few partitions, on the brokers of the log at `url`.

    Raises BadPlace, KafkaUnreachable, TopicsWrong, LogError.
    """

    first = -1

    def __init__(self, folder: Path, url: str) -> None:
        from ledger.log.kafka import KafkaLog
        from ledger.log.kafka_scratch import make

        self.url = asyncio.run(make(url, NAME))
        self.archive = os.fspath(folder / "archive")
        self._temporary = folder / "tmp"  # Workers keep a folder there.
        self._temporary.mkdir()
        self.variables = {"TMPDIR": os.fspath(self._temporary)}
        try:
            self._log = KafkaLog(self.url)
            # Something to judge in every partition: who has judged it is ready for all of them.
            digest, text = DEFAULT.digest, DEFAULT.text
            value = wire.encode(PolicyRecorded(run="policy", digest=digest, text=text))
            self._log.record_policy(digest, text, run="policy", value=value)
        except BaseException:
            self._remove()
            raise
        self.shown = self._log.path
        self._look = self._log.look()

    def part(self, run: str) -> Part:
        """The partition that the run's key belongs to."""
        return self._log.part_of(run)

    def ready(self) -> bool:
        """Every partition is judged up to its end."""
        return self.settled()

    def settled(self) -> bool:
        """Judges have written down that they are at the end of every partition."""
        judged = self._look.judged()
        bounds = self._look.bounds("events", range(self._log.partitions))
        return all(judged.get(number, 0) >= end for number, (_, end) in bounds.items())

    def close(self, *, keep: bool) -> None:
        """Remove the topics."""
        self._log.close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        if not keep:
            self._remove()

    def _remove(self) -> None:
        from ledger.log.kafka_scratch import remove

        asyncio.run(remove(self.url))
