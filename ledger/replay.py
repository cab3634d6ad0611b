"""Replay: fold recorded runs again, and compare what was said then with what is said now.

What a newcomer would get wrong
    What is applied is what was recorded, also where this code would say something else: it was
    acted on. So one difference does not make everything after it differ.
    Only verdicts of this version are compared. Those of another are counted by version, unless
    `compare_all` asks for them too.
    Equal means equal bytes, but for the generation: which judge said it is no part of it.
    Where the log has lost events or verdicts, runs that were there may be another's word against
    ours: what differs of them from there on is said, and is no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from ledger import wire
from ledger.core.events import Event, PolicyRecorded, Record, RunStarted
from ledger.core.fold import compare
from ledger.core.lifecycle import FOLD_VERSION, POLICY_RUN
from ledger.core.state import State
from ledger.core.verdicts import Verdict

Row = tuple[int, int, bytes]
"""An event as the log holds it: offset, append time (ms since 1970), bytes."""
_GENERATION = b',"generation":'
_HEADLESS_MAX = 10_000
_FIRST_OFFSETS = (0, 1)
"""Where logs begin: Kafka's at 0, SQLite's at 1."""
Range = tuple[int, int]
"""First and last offset."""
_NEVER = 2**63


@dataclass(frozen=True, slots=True)
class Difference:
    """What was recorded of an event, and what this code says instead; None: nothing."""

    offset: int
    run: str
    about: str
    recorded: Verdict | None
    ours: Verdict | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that differ; empty where one side says nothing at all."""
        if self.recorded is None or self.ours is None:
            return ()
        then, now = asdict(_comparable(self.recorded)), asdict(_comparable(self.ours))
        return tuple(key for key in now if now[key] != then[key])

    def __str__(self) -> str:
        where = f"run {self.run} differs at offset {self.offset} ({self.about})"
        if self.recorded is None:
            return f"{where}: nothing was recorded, this code says something"
        if self.ours is None:
            return f"{where}: something was recorded, this code says nothing"
        return f"{where} in {', '.join(self.fields) or 'its bytes'}"


@dataclass(slots=True)
class ReplayReport:
    """What a replay found. `equal` is what an exit code is made of.

    `events` were folded and `compared` of the verdicts looked at. `not_comparable` counts
    verdicts by the version that gave them. `headless` are runs whose start (or policy) is not
    among the rows: nothing of them was folded. `unreadable` counts values that are no event,
    `unjudged` the events at the end that no verdict had reached yet. `lost` events are gone;
    `torn` are runs that differ behind such, or behind a verdict that is gone.
    """

    events: int = 0
    compared: int = 0
    runs: int = 0
    differences: int = 0
    first: Difference | None = None
    not_comparable: dict[int, int] = field(default_factory=dict)
    headless: dict[str, None] = field(default_factory=dict)
    unreadable: int = 0
    unjudged: int = 0
    lost: int = 0
    torn: dict[str, None] = field(default_factory=dict)

    def add(self, more: ReplayReport) -> None:
        """Count in what a replay of another partition found."""
        self.events += more.events
        self.compared += more.compared
        self.runs += more.runs
        self.differences += more.differences
        self.first = self.first or more.first
        for version, count in more.not_comparable.items():
            self.not_comparable[version] = self.not_comparable.get(version, 0) + count
        self.headless |= more.headless
        self.lost += more.lost
        self.torn |= more.torn
        self.unreadable += more.unreadable
        self.unjudged += more.unjudged

    @property
    def equal(self) -> bool:
        """Nothing that could be compared differs."""
        return self.differences == 0

    def __str__(self) -> str:
        parts = [f"{self.events} events of {self.runs} runs, {self.compared} verdicts compared"]
        if self.first is not None:
            parts.append(f"{self.differences} differ; {self.first}")
            parts.append("a change in ledger/core needs a new FOLD_VERSION")
        elif self.compared:
            parts.append("all equal")
        for version, count in sorted(self.not_comparable.items()):
            parts.append(f"{count} of version {version} not comparable with {FOLD_VERSION}")
        if self.headless:
            parts.append(f"{len(self.headless)} runs whose start is not there")
        if self.lost:
            parts.append(f"{self.lost} events are lost")
        if self.torn:
            parts.append(f"{len(self.torn)} runs that lost events or verdicts not comparable")
        if self.unreadable:
            parts.append(f"{self.unreadable} values are no events")
        if self.unjudged:
            parts.append(f"{self.unjudged} events not judged yet")
        return "; ".join(parts)


def replay(
    rows: Iterable[Row],
    verdicts: Mapping[int, bytes] | Iterable[tuple[int, bytes]],
    *,
    run: str = "",
    partition: int = 0,
    compare_all: bool = False,
    judged_until: int | None = None,
    lost: Iterable[Range] = (),
    unheard: Iterable[Range] = (),
) -> ReplayReport:
    """Fold the rows again, applying the recorded verdicts, and compare these with our own.

    `rows` are of one partition, in order of offset; `verdicts` are (offset, bytes), as a mapping
    or in order of offset (of two with one offset the first counts). `run`: only that one (its
    rows, and those of the policies, must be among the rows). `judged_until`: the offset that the
    judge had yet to look at; without it, events behind the last verdict that would get one are
    taken as not judged yet. `lost` are offsets of events that are gone, `unheard` those of events
    whose verdicts may be. Raises nothing for what the rows say.
    """
    again = _Replay(partition, run, compare_all, judged_until)
    again.lost, again.unheard = list(_apart(lost)), tuple(unheard)
    if isinstance(verdicts, Mapping):
        verdicts = sorted(verdicts.items())
    again.play(iter(rows), iter(verdicts))
    return again.report


class _Replay:
    """One replay on its way: the state, the report, and the verdict that is due next."""

    def __init__(self, partition: int, run: str, compare_all: bool, until: int | None) -> None:
        self.state = State(partition)
        self.only = run
        self.compare_all = compare_all
        self.until = until
        self.report = ReplayReport()
        self.lost: list[Range] = []
        self.unheard: tuple[Range, ...] = ()
        self.torn: set[str] = set()
        self.whole = False
        self.version = FOLD_VERSION
        # The verdict at hand: its bytes, what it is once it was needed, and whether it is ours.
        self.value = b""
        self.recorded: Verdict | None = None
        self.same = False
        self.ours: Verdict | None = None

    def play(self, rows: Iterator[Row], verdicts: Iterator[tuple[int, bytes]]) -> None:
        """Everything, in one pass."""
        read, state, report, until = wire.reader(), self.state, self.report, self.until
        due, value = next(verdicts, (-1, b""))
        events, before, hole = 0, -1, -1 if self.lost else _NEVER
        for offset, append_ms, data in rows:
            if offset > hole:
                hole = self._crossed(before, offset)
            before = offset
            if until is not None and offset >= until:
                report.unjudged += 1
                continue
            while -1 < due < offset:
                due, value = next(verdicts, (-1, b""))
            self.whole = self.whole or (events == 0 and offset in _FIRST_OFFSETS)
            try:
                event = read(data) if len(data) <= wire.BYTES_MAX else wire.decode(data)
            except (ValidationError, wire.UnreadableEvent):
                self._unreadable(value if due == offset else b"", offset)
                continue
            if self.only and event.run not in (self.only, POLICY_RUN):
                continue
            events += 1
            if due != offset:
                ours = compare(state, Record(offset, append_ms, event), _nothing)
                if ours is not None and not self._unsaid(ours, event, last=due < 0):
                    report.unjudged += 1
                    break
            else:
                self._said(value, Record(offset, append_ms, event))
            if type(event) is RunStarted and event.run in state.runs:
                report.runs += state.runs[event.run].offset == offset
        report.unjudged += sum(1 for _ in rows)
        report.events = events

    def _crossed(self, before: int, offset: int) -> int:
        """What lies between may be lost, of whichever runs there are; where to look again."""
        gone = [min(last, offset - 1) - max(first, before + 1) + 1 for first, last in self.lost]
        if any(count > 0 for count in gone):
            self.report.lost += sum(max(0, count) for count in gone)
            self.torn |= self.state.runs.keys()
            self.whole = False
        self.lost = [one for one in self.lost if one[1] > offset]
        return max(self.lost[0][0], offset) if self.lost else _NEVER

    def _said(self, value: bytes, record: Record) -> None:
        """Something was recorded of this event."""
        self.value, self.recorded, self.same = value, None, False
        self.ours = None
        ours = compare(self.state, record, self._published)
        if self.same:
            self.version = FOLD_VERSION
            self.report.compared += 1
            return
        recorded = self._decoded()
        if recorded is not None:
            self.version = recorded.version
            if self.compare_all and ours is not None and _comparable(recorded) == _comparable(ours):
                self.report.compared += 1
                return
        self._differ(recorded, ours, record.offset, record.event)

    def _published(self, ours: Verdict | None) -> Verdict | None:
        """What was recorded; where the bytes are our own, there is no need to read them."""
        if ours is not None and wire.encode_verdict(ours) == _plain(self.value):
            self.same = True
            return ours
        return self._decoded()

    def _decoded(self) -> Verdict | None:
        if self.recorded is None:
            try:
                self.recorded = wire.decode_verdict(self.value)
            except wire.UnreadableEvent:
                self.recorded = None
        return self.recorded

    def _unsaid(self, ours: Verdict, event: Event, *, last: bool) -> bool:
        """Nothing was recorded where this code speaks; False: nothing was judged from here on."""
        if last and self.until is None:
            return False
        if any(begin <= ours.offset <= end for begin, end in self.unheard):
            self.torn.add(event.run)
        self._differ(None, ours, ours.offset, event)
        return True

    def _unreadable(self, value: bytes, offset: int) -> None:
        self.report.unreadable += 1
        if value:
            self.value, self.recorded = value, None
            recorded = self._decoded()
            if recorded is not None and not self._other_version(recorded.version):
                self._count(Difference(offset, recorded.run, recorded.about, recorded, None))

    def _differ(
        self, recorded: Verdict | None, ours: Verdict | None, offset: int, event: Event
    ) -> None:
        """Say what kind of difference it is: a real one, or two that cannot be compared."""
        if self.only and event.run != self.only:
            return  # Policies are there for the run's sake; what was said of them is not.
        if self._beheaded(event):
            if len(self.report.headless) < _HEADLESS_MAX:
                self.report.headless[event.run] = None
        elif event.run in self.torn:
            if len(self.report.torn) < _HEADLESS_MAX:
                self.report.torn[event.run] = None
        elif not self._other_version(self.version):
            self._count(Difference(offset, event.run, event.type, recorded, ours))

    def _beheaded(self, event: Event) -> bool:
        """Whether what came before this event of a run that is not held is missing here."""
        if self.whole and not self.only:
            return False
        known = event.run in self.state.runs or event.run in self.state.ended
        return not known and not isinstance(event, PolicyRecorded)

    def _other_version(self, version: int) -> bool:
        if version == FOLD_VERSION or self.compare_all:
            return False
        counts = self.report.not_comparable
        counts[version] = counts.get(version, 0) + 1
        return True

    def _count(self, difference: Difference) -> None:
        self.report.compared += 1
        self.report.differences += 1
        self.report.first = self.report.first or difference


def _apart(ranges: Iterable[Range]) -> Iterator[Range]:
    """The same in order, none in two of them."""
    end = -1
    for begin, last in sorted(ranges):
        first = max(begin, end + 1)
        if first <= last:
            yield first, last
            end = last


def _nothing(ours: Verdict | None) -> Verdict | None:
    """Nothing was recorded."""
    return None


def _plain(value: bytes) -> bytes:
    """The bytes of a verdict without the judge's generation, which comes last."""
    head, mark, number = value.rpartition(_GENERATION)
    return head + b"}" if mark and number[:-1].isdigit() else value


def _comparable(verdict: Verdict) -> Verdict:
    """The verdict without who said it: which judge, which version."""
    return replace(verdict, generation=0, version=0)


def facts(report: ReplayReport) -> dict[str, Any]:
    """The report as plain data, for `--json`."""
    first = report.first
    return {
        "equal": report.equal,
        "events": report.events,
        "runs": report.runs,
        "compared": report.compared,
        "differences": report.differences,
        "not_comparable": {str(k): v for k, v in sorted(report.not_comparable.items())},
        "headless": len(report.headless),
        "lost": report.lost,
        "torn": len(report.torn),
        "unreadable": report.unreadable,
        "unjudged": report.unjudged,
        "first": None
        if first is None
        else {
            "offset": first.offset,
            "run": first.run,
            "about": first.about,
            "fields": list(first.fields),
            "recorded": None if first.recorded is None else asdict(first.recorded),
            "ours": None if first.ours is None else asdict(first.ours),
        },
    }
