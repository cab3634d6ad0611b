"""Where the ledger is: the log, the archive and the policy that the global options name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.core.policy import Policy
    from ledger.log.sqlite import SqliteLog


@dataclass(frozen=True, slots=True)
class Place:
    """What `--log`, `--archive` and `--policy` say; `policy` None: the default."""

    log: Path
    archive: str
    policy: Path | None = None

    def open_log(self, *, create: bool = False) -> SqliteLog:
        """The log; with `create` a missing file becomes one. Raises NoLedger, LogForeign, …"""
        from ledger.log.sqlite import SqliteLog

        if not create and not self.log.exists():
            raise NoLedger(str(self.log))
        return SqliteLog(self.log, create=create)

    def load_policy(self) -> Policy:
        """The policy named, or the default. Raises PolicyFileMissing, PolicyFileWrong."""
        from ledger.core.policy import DEFAULT
        from ledger.policy_file import load

        return DEFAULT if self.policy is None else load(self.policy)


class NoLedger(LedgerError):
    """There is no ledger at `path` yet."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"there is no ledger at {self.path}; name one with --log, "
            "or make one: `ledger demo`, `ledger import`, or ledger.connect() in your program"
        )


def place(context: typer.Context) -> Place:
    """The place that this command line names."""
    found = context.find_object(Place)
    assert found is not None
    return found


def make(log: str, archive: str | None, policy: str | None) -> Place:
    """The place these options name; the archive stands beside the log unless it is named."""
    return Place(
        Path(log), archive or f"{os.fspath(log)}-archive", Path(policy) if policy else None
    )
