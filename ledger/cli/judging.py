"""Having everything judged that is in the log by now, whoever is the judge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.log.sqlite import SqliteLog

PATIENCE_S = 30.0
"""How long another judge may make no headway before we say that it is stuck."""
POLL_S = 0.02


class NotJudged(LedgerError):
    """Another judge makes no headway: it stands at `next_offset` of `end`."""

    def __init__(self, path: str, next_offset: int, end: int) -> None:
        super().__init__(path, next_offset, end)
        self.path, self.next_offset, self.end = path, next_offset, end

    def __str__(self) -> str:
        return (
            f"the judge of {self.path} stands at {self.next_offset} of {self.end} and makes no "
            "headway; look at what it says, or end it: another takes over"
        )


def judge_all(log: SqliteLog) -> None:
    """Return once everything recorded before is judged. Raises NotJudged, JudgeTooOld, LogError."""
    from ledger.judge import Judge

    end = log.end()
    judge = Judge(log)
    try:
        stood, since_s = log.judge().next_offset, time.monotonic()
        while (stands := log.judge().next_offset) < end:
            if judge.step():
                continue
            if stands > stood:
                stood, since_s = stands, time.monotonic()
            if time.monotonic() - since_s > PATIENCE_S:
                raise NotJudged(log.path, stands, end)
            time.sleep(POLL_S)
    finally:
        judge.close()
