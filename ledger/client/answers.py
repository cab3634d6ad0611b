"""What a client tells its agent: a decision, a denial, a kill, and what is wrong with the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ledger.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a request. `reason`, `limit`, `left`, `retry_ms` and `instead` say why not.

    `lease` names what the act's *started* event must cite; it is empty where the ledger could
    not be reached and the policy says to proceed (`admitted` is False then).
    """

    allowed: bool
    decision: Literal["allow", "deny", "transform"] = "allow"
    lease: str = ""
    reason: str = ""
    limit: str = ""
    left: int = 0
    retry_ms: int = 0
    instead: str = ""
    admitted: bool = True

    @property
    def denied(self) -> bool:
        """True where the act must not happen."""
        return not self.allowed

    @property
    def sentence(self) -> str:
        """A denial in words for the model: the limit, what is left, when to ask again, what to
        do instead. Empty where it is allowed."""
        if self.allowed:
            return ""
        parts = [self.reason or "The ledger does not allow this."]
        if self.limit:
            parts.append(f"Limit: {self.limit}, {self.left} left.")
        if self.retry_ms:
            parts.append(f"Asking again may help in {self.retry_ms} ms.")
        elif self.limit:
            parts.append("Asking again will not help.")
        if self.instead:
            parts.append(self.instead)
        return " ".join(parts)


class Denied(Exception):
    """The ledger does not allow this act; its body did not run.

    The message is a sentence for the model; `decision` has the same in fields.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.sentence)
        self.decision = decision


class Killed(BaseException):
    """`agent` of `run` was killed by `order`. No `except Exception` swallows it.

    Raised at the next ledger call, in whatever thread or task.
    """

    def __init__(self, run: str, agent: str, reason: str = "", order: str = "") -> None:
        super().__init__(run, agent, reason, order)
        self.run, self.agent, self.reason, self.order = run, agent, reason, order

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"agent {self.agent} of run {self.run} was killed{why}"


SHOWN_MAX = 100


def shorten(value: object) -> str:
    """A wrong value as a person is shown it."""
    shown = repr(value)
    return shown if len(shown) <= SHOWN_MAX else shown[: SHOWN_MAX - 3] + "..."


class NoAgent(LedgerError):
    """A ledger call was made where no agent is known."""

    def __str__(self) -> str:
        return (
            "no agent is known here; open a run (`with led.run(...)`) around it, hand a thread "
            "its identity with `ledger.propagate`, or a process with `led.join()`"
        )


class Closed(LedgerError):
    """The Ledger was closed; nothing more is recorded or admitted."""

    def __str__(self) -> str:
        return "this Ledger was closed; connect again to go on"


class QueueFull(LedgerError):
    """`size` events wait to be written, the most that `client.queue_max` allows."""

    def __init__(self, size: int, problem: BaseException | None) -> None:
        super().__init__(size, problem)
        self.size, self.problem = size, problem

    def __str__(self) -> str:
        why = f"the log says: {self.problem}" if self.problem else "they come faster than the disk"
        return (
            f"{self.size} events wait to be written (client.queue_max) and {why}; "
            "wait and record again, or raise the limit"
        )


class NotDurable(LedgerError):
    """Not everything recorded before `flush` or `close` reached the log in time.

    `unsent` events wait; they are sent again as long as the process and its Ledger live.
    """

    def __init__(self, unsent: int, timeout_s: float, problem: BaseException | None) -> None:
        super().__init__(unsent, timeout_s, problem)
        self.unsent, self.timeout_s, self.problem = unsent, timeout_s, problem

    def __str__(self) -> str:
        why = f": {self.problem}" if self.problem else ""
        return (
            f"{self.unsent} events were not written within {self.timeout_s:g} s{why}; "
            "they are kept and tried again, flush again to wait for them"
        )


class BadValue(LedgerError):
    """A value given to the ledger that no event can hold; `what` names it."""

    def __init__(self, what: str, value: object, rule: str) -> None:
        super().__init__(what, value, rule)
        self.what, self.value, self.rule = what, value, rule

    def __str__(self) -> str:
        return f"{self.what} is {shorten(self.value)}; {self.rule}"
