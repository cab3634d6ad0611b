"""One simulated agent: its script, the process it lives in, and what may stop it.

An actor does one thing at a time. Each act that takes time hands control back to the world's
clock; what comes back goes to the script as its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from ledger.core import events as e
from ledger.core.verdicts import Verdict
from ledger.simulate.acts import Answer, Behaviour, Handoff
from ledger.simulate.perform import perform
from ledger.simulate.purse import Purse

if TYPE_CHECKING:
    from ledger.simulate.stage import Stage


class Host:
    """One process: a source of events, numbered from 1 without gaps."""

    __slots__ = ("actors", "dead", "ended", "seq", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.seq = 0
        self.actors: list[Actor] = []
        self.dead = False
        self.ended: deque[tuple[int, int, int]] = deque(maxlen=256)
        """Model calls that ended: (when, tokens, microdollars), for receipts."""


class Actor:
    """An agent in a run; what `Me` promises to scripts, and what drives them."""

    __slots__ = (
        "call", "children", "denied", "depth", "held", "host", "inbox", "name", "over", "parent",
        "paused", "purse", "random", "script", "shared", "stage", "waiting", "waste",
    )  # fmt: skip

    def __init__(
        self, stage: Stage, host: Host, name: str, parent: Actor | None, plays: Behaviour
    ) -> None:
        self.stage = stage
        self.host = host
        self.name = name
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.random = Random(f"{stage.seed} {name}")
        self.shared = stage.shared
        self.children: list[str] = []
        self.inbox: list[Handoff] = []
        self.waiting: tuple[str, Any] | None = None
        self.call: Callable[[str], None] | None = None
        self.denied: set[int] = set()
        self.purse = Purse(self)
        self.waste: bool = parent is not None and parent.waste
        self.over = False
        self.paused = False
        self.held: list[Callable[[], None]] = []
        self.script = plays(self)
        host.actors.append(self)

    @property
    def now_ms(self) -> int:
        """Time since the run began, in ms."""
        return self.stage.world.now_ms - self.stage.began_ms

    def write(self, cls: type[e.Event], **fields: Any) -> Verdict | None:
        """Record something this agent does."""
        return self.stage.write(cls, host=self.host, agent=self.name, **fields)

    def later(self, ms: int, do: Callable[[], None]) -> None:
        """Do something in `ms`, unless the agent is over by then; if paused, once it goes on."""

        def due() -> None:
            if self.over:
                return
            if self.paused:
                self.held.append(due)
            else:
                do()

        self.stage.world.after(ms, due)

    def answer_in(self, ms: int, answer: Answer) -> None:
        """Let the script go on in `ms` with this answer."""
        self.later(ms, lambda: self.go(answer))

    def go(self, answer: Answer | None) -> None:
        """Let the script go on, up to its next act that takes time."""
        while not self.over:
            try:
                act = self.script.send(answer)  # type: ignore[arg-type]
            except StopIteration:
                self.stage.end(self, "succeeded")
                return
            answer = perform(self, act)
            if answer is None:
                return

    def below(self, name: str) -> bool:
        """Is this agent `name`, or a descendant of it?"""
        at: Actor | None = self
        while at is not None:
            if at.name == name:
                return True
            at = at.parent
        return False

    def resume(self) -> None:
        """Go on with what a pause held back."""
        self.paused = False
        held, self.held = self.held, []
        for due in held:
            due()
