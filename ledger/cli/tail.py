"""`ledger tail`: events and verdicts as they come, one line each.

What a newcomer would get wrong
    A log on Kafka is in order within a partition. What several of them bring at once is shown in
    the order of the time at which the log took it in.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger import wire
from ledger.cli.examples import example
from ledger.cli.output import json_escaped, say_marked
from ledger.cli.place import on_kafka, place
from ledger.cli.runs import style
from ledger.cli.text import clock, cut

if TYPE_CHECKING:
    from ledger.cli.place import AnyLog, AnyPart
    from ledger.core.verdicts import Verdict
    from ledger.log.rows import Row

READ_ROWS = 1_000
POLL_S = 0.1
DETAIL_SHOWN = 110
RUN_SHOWN = 13
ENVELOPE = frozenset({"type", "v", "run", "agent", "source", "seq", "at_ms", "grade"})
QUIET_FIELDS = frozenset(
    {"task_fp", "task_near", "args_fp", "args_near", "result_fp", "prompt_fp", "lease"}
)
"""Numbers that mean nothing to a person; `--json` has them."""

Line = tuple[tuple[str, str], ...]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example("ledger tail", "ledger tail 0199c0de --verdicts", "ledger tail -n 0 --json")
    )(tail)


def tail(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="Only this run; how its id begins will do.")
    ] = None,
    lines: Annotated[
        int, typer.Option("-n", "--lines", help="Show so many events from before.", min=0)
    ] = 10,
    verdicts_only: Annotated[
        bool, typer.Option("--verdicts", help="Only what the judge says.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="End after so long.", metavar="SECONDS", min=0.0)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object a line, as it was recorded.")
    ] = False,
) -> None:
    """Follow what is recorded, and what the judge says of it, until Ctrl-C."""
    from ledger.cli.orders import find_in_log

    with place(context).open_log() as log:
        wanted = find_in_log(log, run) if run else None
        follow = _Follow(log, wanted, lines)
        until_s = None if seconds is None else time.monotonic() + seconds
        with log.bell("judge", "tail") as bell:
            while True:
                for kind, text, value in follow.news():
                    if verdicts_only and kind == "event":
                        continue
                    if as_json:
                        print(json_escaped(value.decode(errors="replace")))
                    else:
                        say_marked(*text)
                sys.stdout.flush()
                late = until_s is not None and time.monotonic() >= until_s
                if late or _reader_gone():
                    return
                bell.wait(POLL_S)


class _Follow:
    """What is new in a log since last asked, events and verdicts, each in the order of offsets."""

    def __init__(self, log: AnyLog, run: str | None, before: int) -> None:
        self._run, self._before = run, before
        parts: Sequence[AnyPart] = log.parts() if run is None else [log.part_of(run)]
        self._parts: dict[int, AnyPart] = {getattr(one, "number", 0): one for one in parts}
        fleet = on_kafka(log)
        self._look = None if fleet is None else fleet.look()
        starts, ends = self._bounds("events")
        self._offsets = {n: max(starts[n] - 1, ends[n] - 1 - before) for n in self._parts}
        self._places = {n: end - 1 for n, end in self._bounds("verdicts")[1].items()}

    def news(self) -> Iterator[tuple[str, Line, bytes]]:
        """(`event` or `verdict`, the line, the bytes) of everything new."""
        rows = self._events()
        if self._before and len(self._parts) > 1:
            rows, self._before = rows[-self._before :], 0
        for row in rows:
            if self._run in (None, row.run):
                yield "event", event_line(row.append_ms, row.run, row.value), row.value
        for number in self._moved("verdicts", self._places):
            yield from self._said(number)

    def _said(self, number: int) -> Iterator[tuple[str, Line, bytes]]:
        """New verdicts of a partition."""
        while said := self._parts[number].verdicts(self._places[number], READ_ROWS, self._run):
            self._places[number] = said[-1].pos
            for row in said:
                if row.offset < 0:
                    continue  # No verdict: anybody may write into a topic.
                for line in verdict_lines(wire.decode_verdict(row.value)):
                    yield "verdict", line, row.value
            if len(said) < READ_ROWS:
                return

    def _events(self) -> list[Row]:
        """New events, a page of each partition that has some."""
        found: list[Row] = []
        for number in self._moved("events", self._offsets):
            page = self._parts[number].read(self._offsets[number], READ_ROWS)
            if page:
                self._offsets[number] = page[-1].offset
            found += page
        return sorted(found, key=attrgetter("append_ms")) if len(self._parts) > 1 else found

    def _moved(self, topic: str, seen: dict[int, int]) -> list[int]:
        """The partitions that may have something behind what was seen of them."""
        if self._look is None:
            return list(self._parts)
        ends = self._bounds(topic)[1]
        return [number for number, at in seen.items() if ends[number] > at + 1]

    def _bounds(self, topic: str) -> tuple[dict[int, int], dict[int, int]]:
        """First and next position of each partition."""
        if self._look is not None:
            bounds = self._look.bounds(topic, self._parts.keys())
            starts = {number: one[0] for number, one in bounds.items()}
            return starts, {number: one[1] for number, one in bounds.items()}
        (log,) = self._parts.values()
        if topic == "events":
            return {0: log.start()}, {0: log.end()}
        return {0: 1}, {0: log.verdicts_end() + 1}


def _reader_gone() -> bool:
    """Whether whoever read our output has ended (`| head`): the next line would be the first to
    notice, and there may be none."""
    try:
        poller = select.poll()
        poller.register(sys.stdout.fileno(), 0)
        return any(what & select.POLLERR for _, what in poller.poll(0))
    except (OSError, ValueError):
        return False  # No file behind it, as in tests.


def event_line(append_ms: int, run: str, value: bytes) -> Line:
    """An event in one line: when, which run, who, what, and its own fields."""
    try:
        event: dict[str, Any] = json.loads(value)
        kind = str(event["type"])
    except (ValueError, KeyError, TypeError):
        return ((clock(append_ms), "dim"), (f"  {short(run)}  ", ""), ("unreadable bytes", "red"))
    own = {k: v for k, v in event.items() if k not in ENVELOPE | QUIET_FIELDS}
    detail = " ".join(f"{k}={_short(v)}" for k, v in own.items())
    return (
        (clock(append_ms), "dim"),
        (f"  {short(run):<{RUN_SHOWN}}  ", "dim"),
        (f"{event.get('agent', ''):<18} ", ""),
        (f"{kind:<20} ", "cyan"),
        (cut(detail, DETAIL_SHOWN), ""),
    )


def verdict_lines(verdict: Verdict) -> Iterator[Line]:
    """What the judge said of one event: a line for each thing; none for a plain allow."""
    start: Line = ((" " * 12, ""), (f"  {short(verdict.run):<{RUN_SHOWN}}  ", "dim"))
    who = (f"{verdict.agent:<18} ", "")
    if verdict.refusal:
        yield (*start, who, ("refused              ", "red"), (verdict.refusal, ""))
    if verdict.decision == "deny" and verdict.denial is not None:
        yield (*start, who, ("denied               ", "yellow"), (verdict.denial.reason, ""))
    for finding in verdict.findings:
        word = f"{finding.severity if finding.level else 'over':<20} "
        text = f"{finding.name}: {finding.reason}"
        yield (*start, (f"{finding.subject:<18} ", ""), (word, style(finding.severity)), (text, ""))
    for order in verdict.orders:
        target = order.agent or "the run"
        yield (*start, who, (f"{order.action:<20} ", "bold red"), (f"{target}: {order.reason}", ""))
    for order_id in verdict.quiet:
        yield (*start, who, ("quiet                ", "green"), (f"order {order_id}", ""))


def short(run: str) -> str:
    """A run's id short enough for a line: its beginning and its end, which differ."""
    return run if len(run) <= RUN_SHOWN else f"{run[:8]}…{run[-4:]}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut(text, 48)
