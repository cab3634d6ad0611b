"""The judge of a log on one machine: reads events, folds them, writes verdicts.

What a newcomer would get wrong
    No rule lives here: what is decided is decided by `ledger.core.fold`. This is the shell
    around it: election, restoring, batches, checkpoints, ticks, and who has ended.
    `ensure` is what clients call; `Judge` is for who judges in a thread or in the foreground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.judge.start import JudgeNotStarted, ensure, judged

if TYPE_CHECKING:
    from ledger.judge.judge import Judge

__all__ = ["Judge", "ensure", "judged", "JudgeNotStarted"]


def __getattr__(name: str) -> Any:
    """`Judge`, loaded when first asked for: agents only ask whether there is one."""
    if name == "Judge":
        from ledger.judge.judge import Judge

        return Judge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
