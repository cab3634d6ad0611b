"""The judge of a log on one machine: reads events, folds them, writes verdicts.

What a newcomer would get wrong
    No rule lives here: what is decided is decided by `ledger.core.fold`. This is the shell
    around it: election, restoring, batches, checkpoints, ticks, and who has ended.
    `ensure` is what clients call; `Judge` is for who judges in a thread or in the foreground.
"""

from __future__ import annotations

from ledger.judge.judge import IDLE_S, Judge
from ledger.judge.start import JudgeNotStarted, ensure, judged

__all__ = ["Judge", "ensure", "judged", "JudgeNotStarted", "IDLE_S"]
