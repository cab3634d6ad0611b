"""Where events, verdicts and orders are kept, and what goes wrong there.

What a newcomer would get wrong
    The errors live here, so that catching one loads no database library.
    `ledger.log.sqlite` is the log of one machine: one file, many processes, no service.
    `ledger.log.kafka` is the log of a fleet. To a client both are a `ledger.log.needed.ClientLog`.
"""

from __future__ import annotations

from ledger.errors import LedgerError


class LogError(LedgerError):
    """Something is wrong with the log at `path`; `problem` says what, `remedy` what to do."""

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path, self.problem, self.remedy = path, problem, remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


class LogMissing(LogError):
    """There is no log at this path, or it was removed or replaced while in use."""


class LogForeign(LogError):
    """The file is something else: no SQLite, another program's database, a newer format."""


class LogCorrupt(LogError):
    """The file was a log, and parts of it cannot be read."""


class LogLocked(LogError):
    """Somebody else held the log longer than we wait; nothing was written."""


class LogFull(LogError):
    """No space is left; nothing was written. The log works again once there is space."""


class LogUnwritable(LogError):
    """The file or its folder cannot be opened or written: rights, or the device fails."""


class LogClosed(LogError):
    """The log was closed, or this process was forked in a way that cannot be made safe."""


class LogUnreachable(LogError):
    """No broker of a log on Kafka answers, or it refuses us; nothing was acknowledged."""


class KafkaNotInstalled(LogError):
    """A log on Kafka was named, and what only Kafka needs is not installed."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path, "what Kafka needs is not installed",
            "run: pip install 'coordination-ledger[kafka]'",
        )  # fmt: skip


class BatchTooLarge(LogError):
    """More was given to one append than one transaction may hold; nothing was written."""


class JudgeTooOld(LogError):
    """This deciding version is lower than one that has judged here; it may not judge.

    `version` is ours, `needed` the lowest that may judge.
    """

    def __init__(self, path: str, *, version: int, needed: int) -> None:
        super().__init__(
            path,
            f"deciding version {needed} has judged here, and this is version {version}",
            "upgrade this installation of coordination-ledger, or let the newer one judge",
        )
        self.version, self.needed = version, needed
