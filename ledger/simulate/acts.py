"""What a simulated agent can do: a script yields acts and is sent their answers.

A script is a generator: `answer = yield CallTool("search", {"q": "x"})`. It knows nothing of
clocks, logs or leases; `act.denied` is all it ever sees of the ledger, as a model would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

from ledger.core.shapes import Action, Scope, Units
from ledger.core.shapes import Mode as HandoffMode
from ledger.core.verdicts import Denial

# Scripted prices, in hundredths of a microdollar a token: 3 dollars a million tokens of input,
# 15 of output, 0.30 read from a cache, 3.75 written to it.
INPUT_PRICE, OUTPUT_PRICE, CACHE_READ_PRICE, CACHE_WRITE_PRICE = 300, 1_500, 30, 375
_HUNDREDTHS = 100


class Me(Protocol):
    """What a script may know of the agent it plays."""

    name: str
    depth: int
    random: Random
    shared: dict[str, int]
    """Counters that all scripts of one run share: an upstream's state, a quota."""

    @property
    def now_ms(self) -> int:
        """Time since the run began, in ms."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """Work that was handed to an agent."""

    id: str
    giver: str
    goal: str
    constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an act: `denied` by the ledger, an `error` of the world, or neither."""

    denied: Denial | None = None
    error: str = ""
    agent: str = ""
    handoff: Handoff | None = None

    @property
    def ok(self) -> bool:
        """Neither refused nor failed."""
        return self.denied is None and not self.error


Script = Generator["Act", Answer, None]
Behaviour = Callable[[Me], Script]


@dataclass(frozen=True, slots=True)
class Think:
    """Time passes and nobody is asked."""

    ms: int


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask a model. The estimate is what the client tells the ledger before (None: exact)."""

    output: int = 400
    input: int = 1_000
    cache_read: int = 0
    cache_write: int = 0
    ms: int = 4_000
    model: str = "scripted-model"
    prompt: str = ""
    error: str = ""
    estimate_tokens: int | None = None
    waste: bool = False

    @property
    def tokens(self) -> int:
        """All four kinds."""
        return self.input + self.output + self.cache_read + self.cache_write

    @property
    def microdollars(self) -> int:
        """Cost at the scripted prices."""
        hundredths = (
            self.input * INPUT_PRICE
            + self.output * OUTPUT_PRICE
            + self.cache_read * CACHE_READ_PRICE
            + self.cache_write * CACHE_WRITE_PRICE
        )
        return hundredths // _HUNDREDTHS


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool; `result` is what it gives, compared by fingerprint only."""

    tool: str
    args: Mapping[str, Any] | None = None
    result: Any = "done"
    ms: int = 800
    error: str = ""
    retry: bool = False
    waste: bool = False


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a child that plays `plays`. `waste`: nobody wanted it, nor what it will do."""

    plays: Behaviour
    role: str = "worker"
    task: str = ""
    constraints: tuple[str, ...] = ()
    budget: Units | None = None
    own_process: bool = False
    waste: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Until these agents have ended (None: every child so far)."""

    agents: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HandOff:
    """Give work to a live agent; `delegate_and_wait` waits for its return."""

    to: str
    goal: str = ""
    constraints: tuple[str, ...] = ()
    mode: HandoffMode = "delegate_and_continue"


@dataclass(frozen=True, slots=True)
class Receive:
    """Until work is handed to me, and take it on. No handoff: the run is closing."""


@dataclass(frozen=True, slots=True)
class Return:
    """Give the result of a handoff back."""

    handoff: Handoff
    result: Any = "done"


@dataclass(frozen=True, slots=True)
class Constrain:
    """Declare something that all must keep to."""

    constraint: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Propose steps."""

    goal: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Produce:
    """Make an output."""

    output: str
    result: Any = "text"


@dataclass(frozen=True, slots=True)
class Verify:
    """Check an output."""

    output: str
    passed: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """A person orders (only operators do).

    Without the ledger this stops the named agent and nobody below it, which is what the
    frameworks of the incidents did.
    """

    action: Action
    scope: Scope = "run"
    agent: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies, with every agent in it and what it holds."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The agent ends, and not well."""

    error: str
    outcome: Literal["failed", "cancelled"] = "failed"


Act = (
    Think | CallModel | CallTool | Spawn | Wait | HandOff | Receive | Return | Constrain
    | Plan | Produce | Verify | Order | Crash | Fail
)  # fmt: skip
