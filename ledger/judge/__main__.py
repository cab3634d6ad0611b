"""The judge as a background process: `python -m ledger.judge PATH`, as `ensure` starts it.

What a newcomer would get wrong
    It ends by itself: when nobody is there for `--idle-s` (or LEDGER_JUDGE_IDLE_S), when
    another judges for a while, when the log is damaged or gone. SIGTERM makes it settle first.
    `ledger up` is the same judge in the foreground.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys

from ledger.errors import LedgerError
from ledger.judge.judge import Judge
from ledger.log.sqlite import SqliteLog
from ledger.settings import judge_idle_s
from ledger.wire import reader

STANDBY_S = 2.0
"""How long a judge that is not elected waits for the one that is to fail."""


def main(arguments: list[str] | None = None) -> int:
    """Judge the log that the command line names; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ledger.judge", description=__doc__)
    parser.add_argument("path", help="the log, such as ledger.db")
    parser.add_argument("--idle-s", type=float, help="silence before it ends")
    parser.add_argument("--standby-s", type=float, default=STANDBY_S, help="wait to be elected")
    asked = parser.parse_args(arguments)
    try:
        with SqliteLog(asked.path, create=False) as log:
            idle_s = judge_idle_s() if asked.idle_s is None else asked.idle_s
            _judge(log, idle_s, asked.standby_s)
    except LedgerError as problem:
        print(f"ledger judge: {problem}", file=sys.stderr, flush=True)
        return 1
    return 0


def _judge(log: SqliteLog, idle_s: float, standby_s: float) -> None:
    judge = Judge(log, idle_s=idle_s, standby_s=standby_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: judge.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")  # A folder that somebody wants to unmount is not held.
    reader()
    calm_collector()
    judge.run()


def calm_collector() -> None:
    """Keep Python's collector from looking through all runs again and again.

    The state holds no cycles, so reference counts free it. What is looked at is little at a
    time: every verdict waits for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
