"""A clock, a log and a judge of their own: what simulated fleets live in.

The log is a counter and a clock; the judge is the real `fold`. Nothing here looks at the
machine's time, so a run of hours takes as long as its events take to fold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from ledger.core.events import Event, PolicyRecorded, Record, Ticked
from ledger.core.fold import fold, next_deadline
from ledger.core.policy import Policy
from ledger.core.state import State
from ledger.core.verdicts import Verdict

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: when every simulation begins."""
JUDGE = "judge"
Heed = Callable[[str, Verdict | None], None]
"""Told of each tick of a run and what the judge said of it."""


class Step(NamedTuple):
    """A record as the log took it in, and what the judge said of it."""

    record: Record
    verdict: Verdict | None


class World:
    """Many runs on one clock.

    `policy` None: there is no judge. `watched` False with a policy: the judge looks on and
    nobody asks or hears it, which tells what it would have seen, and when.
    An answer takes `round_trip_ms`, an order `latch_ms` to reach a process.
    """

    def __init__(
        self,
        policy: Policy | None,
        *,
        watched: bool,
        round_trip_ms: int = 2,
        latch_ms: int = 5,
        start_ms: int = START_MS,
    ) -> None:
        assert policy is not None or not watched
        self.policy = policy
        self.watched = watched
        self.round_trip_ms = round_trip_ms
        self.latch_ms = latch_ms
        self.now_ms = start_ms
        self.state = State()
        self.offset = 0
        self._due: list[tuple[int, int, bool, Callable[[], None]]] = []
        self._entries = self._awake = 0
        self._deadlines: dict[str, int] = {}
        self._ticks: list[tuple[int, str]] = []
        self._out: deque[Step] = deque()
        if policy is not None:
            self.append(PolicyRecorded(run="policy", digest=policy.digest, text=policy.text))

    def after(self, ms: int, do: Callable[[], None], *, only_if_awake: bool = False) -> None:
        """Do something in `ms` milliseconds; at the same time, first come first served.

        `only_if_awake`: the world need not go on for that.
        """
        self._entries += 1
        self._awake += not only_if_awake
        heappush(self._due, (self.now_ms + ms, self._entries, only_if_awake, do))

    def append(self, event: Event) -> Verdict | None:
        """Write an event to the log; what the judge says of it."""
        self.offset += 1
        record = Record(self.offset, self.now_ms, event)
        verdict = None if self.policy is None else fold(self.state, record)
        self._out.append(Step(record, verdict))
        if self.watched:
            deadline_ms = next_deadline(self.state, event.run)
            if deadline_ms and deadline_ms != self._deadlines.get(event.run):
                self._deadlines[event.run] = deadline_ms
                heappush(self._ticks, (deadline_ms, event.run))
        return verdict

    def steps(self, heed: Heed) -> Iterator[Step]:
        """Live until nothing is due, giving each step as it is written.

        Ticks go to `heed`: nobody waits for their verdicts.
        """
        due, out = self._due, self._out
        while self._awake:
            at_ms, _, only_if_awake, do = heappop(due)
            self._awake -= not only_if_awake
            while self._ticks and self._tick(at_ms, heed):
                yield from self._drain()
            self.now_ms = max(self.now_ms, at_ms)
            do()
            if out:
                yield from self._drain()
        yield from self._drain()

    def _drain(self) -> Iterator[Step]:
        while self._out:
            yield self._out.popleft()

    def _tick(self, until_ms: int, heed: Heed) -> bool:
        """Take the first deadline that is due by then; False where none is."""
        if self._ticks[0][0] > until_ms:
            return False
        deadline_ms, run = heappop(self._ticks)
        if next_deadline(self.state, run) == deadline_ms:
            self.now_ms = max(self.now_ms, deadline_ms)
            tick = Ticked(run=run, source=JUDGE, at_ms=self.now_ms, grade="enforced")
            del self._deadlines[run]
            verdict = self.append(tick)
            heed(run, verdict)
        return True
