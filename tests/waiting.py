"""Waiting for another process without guessing how long it takes.

The only place in the tests that may sleep. A fixed sleep is too short on a busy machine and
too long on every other; a condition is neither.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_MS = 60_000
"""How long a client of a test waits for the judge. The default of 5 s is over before a judge has
started on a machine that does five other things, and then a spawn is denied."""
LEAST_S = 180.0
"""No wait is given up sooner: a limit is for what hangs, never for what is slow."""


def wait_for(
    condition: Callable[[], T],
    timeout_s: float = LEAST_S,
    *,
    what: str = "the condition",
    poll_s: float = 0.01,
) -> T:
    """Call `condition` until it returns something true, and return that.

    Raises AssertionError, naming `what` and the last answer, after `timeout_s`. The condition is
    always asked once more at the end, so a process that was frozen meanwhile gets a fair answer.
    """
    timeout_s = max(timeout_s, LEAST_S)
    deadline_s = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() >= deadline_s
        answer = condition()
        if answer:
            return answer
        if late:
            raise AssertionError(f"waited {timeout_s} s for {what}; the last answer was {answer!r}")
        time.sleep(poll_s)
