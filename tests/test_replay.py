"""Replay: what was recorded is applied, what differs is named, what cannot be compared is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import wire
from ledger.core import events as e
from ledger.core.events import Event, Record
from ledger.core.fold import fold
from ledger.core.lifecycle import FOLD_VERSION
from ledger.core.shapes import Units
from ledger.core.state import State
from ledger.core.verdicts import Verdict
from ledger.replay import Row, facts, replay
from tests.runs import TIGHT, Told, any_runs, tell


def logged(told: Told) -> tuple[list[Row], list[tuple[int, bytes]]]:
    """The two logs as a judge of generation 7 leaves them."""
    rows = [(r.offset, r.append_ms, wire.encode(r.event)) for r in told.records]
    _, verdicts = told.judged()
    return rows, [(v.offset, wire.encode_verdict(v)) for v in stamped(verdicts)]


def stamped(verdicts: Iterable[Verdict | None]) -> list[Verdict]:
    return [replace(verdict, generation=7) for verdict in verdicts if verdict is not None]


def changed(said: list[tuple[int, bytes]], place: int, **fields: Any) -> list[tuple[int, bytes]]:
    """The verdict log with one verdict that says something else."""
    offset, value = said[place]
    other = replace(wire.decode_verdict(value), **fields)
    return [*said[:place], (offset, wire.encode_verdict(other)), *said[place + 1 :]]


BUSY = tell([(n * 7 % 45, n % 12, n % 10, n * 3 % 10, n * 11 % 60) for n in range(80)])


@given(any_runs())
def test_a_recorded_run_replays_equal(told: Told) -> None:
    """Live judging and replay are one function: the archive must say the same for ever."""
    rows, said = logged(told)
    report = replay(rows, said)

    assert report.equal
    assert report.compared == len(said)
    assert report.events + report.unjudged == len(rows)
    assert not report.headless


@given(any_runs(), st.data())
def test_the_first_changed_verdict_is_found(told: Told, data: Any) -> None:
    """An audit that cannot fail proves nothing."""
    rows, said = logged(told)
    if not said:
        return
    place = data.draw(st.integers(0, len(said) - 1))
    report = replay(rows, changed(said, place, at_ms=12_345_678))

    assert not report.equal
    assert report.first is not None
    assert report.first.offset == said[place][0]
    assert report.first.fields == ("at_ms",)


def test_a_verdict_that_is_gone_is_found() -> None:
    """Somebody took a denial out of the log."""
    rows, said = logged(BUSY)
    report = replay(rows, said[:3] + said[4:])

    assert report.first is not None
    assert report.first.offset == said[3][0]
    assert report.first.recorded is None
    assert "nothing was recorded" in str(report.first)


def test_a_verdict_that_was_put_in_is_found() -> None:
    """Somebody put a kill into the log that nobody decided."""
    rows, said = logged(BUSY)
    free = next(o for o, _, _ in rows if o not in dict(said))
    made = Verdict(free, "r", version=FOLD_VERSION, generation=7)
    report = replay(rows, sorted([*said, (free, wire.encode_verdict(made))]))

    assert report.first is not None
    assert report.first.ours is None
    assert report.first.offset == free


def test_what_was_decided_is_applied_though_this_code_would_decide_otherwise() -> None:
    """A lease that was given is held: one difference does not make all after it differ."""
    wants = Units(tool_calls=2)
    told: list[Event] = [
        e.RunStarted(run="r", agent="lead", source="p", seq=1),
        e.LeaseRequested(run="r", agent="lead", source="p", seq=2, wants=wants),
        e.ToolCallStarted(run="r", agent="lead", source="p", seq=3, call="c", tool="t",
                          lease="0-2"),
        e.LeaseReturned(run="r", agent="lead", source="p", seq=4, lease="0-2"),
        e.LeaseReturned(run="r", agent="lead", source="p", seq=5, lease="0-2"),
    ]  # fmt: skip
    rows = [(n, 1_000, wire.encode(event)) for n, event in enumerate(told, start=1)]
    state = State(0)
    verdicts = [fold(state, Record(o, at, wire.decode(v))) for o, at, v in rows]
    said = [(v.offset, wire.encode_verdict(v)) for v in stamped(verdicts)]
    smaller = wire.decode_verdict(said[0][1]).lease
    assert smaller is not None
    report = replay(rows, changed(said, 0, lease=replace(smaller, units=(0, 1, 0, 0, 0))))

    # The one call uses up the smaller lease, so that both returns are refused.
    assert report.differences == 2
    assert report.first is not None
    assert report.first.fields == ("lease",)


def test_verdicts_of_another_version_are_counted_not_compared() -> None:
    """A change of the rules is no corruption; both are said, and told apart."""
    rows, said = logged(BUSY)
    older = [
        (o, wire.encode_verdict(replace(wire.decode_verdict(v), version=FOLD_VERSION + 1)))
        for o, v in said
    ]
    report = replay(rows, older)

    assert report.equal
    assert report.compared == 0
    assert report.not_comparable == {FOLD_VERSION + 1: len(said)}

    asked = replay(rows, older, compare_all=True)
    assert asked.equal
    assert asked.compared == len(said)
    assert not replay(rows, changed(older, 2, at_ms=1), compare_all=True).equal


def test_rows_without_their_beginning_are_said_not_judged() -> None:
    """The log is trimmed: a run whose start is gone cannot be folded, and is no difference."""
    rows, said = logged(BUSY)
    report = replay(rows[5:], said)

    assert report.equal
    assert "r" in report.headless
    assert "whose start is not there" in str(report)


@pytest.mark.parametrize(("begin", "end"), [(0, 2), (5, 9), (12, 40), (30, 31)])
def test_runs_that_lost_events_are_said_not_compared(begin: int, end: int) -> None:
    """Records that a person accepted as lost: no change of the rules, and no crash."""
    rows, said = logged(BUSY)
    range_ = rows[begin][0], rows[end - 1][0]
    report = replay([*rows[:begin], *rows[end:]], said, lost=[range_, range_])
    unsaid = replay([*rows[:begin], *rows[end:]], said)

    assert report.equal
    assert report.lost == range_[1] - range_[0] + 1
    assert report.torn.keys() | report.headless.keys() or unsaid.equal
    assert f"{report.lost} events are lost" in str(report)
    assert facts(report)["torn"] == len(report.torn)


def test_a_run_whose_verdicts_are_lost_is_said_not_compared() -> None:
    """What the judge said was acted on, and nobody knows what it was."""
    rows, said = logged(BUSY)
    gone = said[4][0], said[9][0]
    report = replay(rows, [*said[:4], *said[10:]], unheard=[gone])

    assert not replay(rows, [*said[:4], *said[10:]]).equal
    assert report.equal
    assert report.torn
    assert "1 runs that lost events or verdicts not comparable" in str(report)


def test_a_run_that_begins_behind_a_loss_is_compared() -> None:
    """One bad disk excuses nothing that came later."""
    last = BUSY.records[-1]
    asked = [
        e.RunStarted(run="later", agent="lead", source="p9", seq=1),
        e.SpawnRequested(run="later", agent="lead", child="c", source="p9", seq=2),
    ]
    more = [Record(last.offset + 1 + n, last.append_ms, event) for n, event in enumerate(asked)]
    rows, said = logged(Told(BUSY.policy, [*BUSY.records, *more]))
    less, lost = [*rows[:5], *rows[9:]], [(rows[5][0], rows[8][0])]
    assert wire.decode_verdict(said[-1][1]).run == "later"

    assert replay(less, said, lost=lost).equal
    report = replay(less, changed(said, len(said) - 1, decision="deny"), lost=lost)
    assert report.first is not None
    assert report.first.run == "later"


def test_one_run_is_replayed_from_its_own_rows() -> None:
    """`ledger replay RUN` reads one run out of millions, and the policies."""
    moves = [(n * 7 % 45, n % 12, n % 10, n * 3 % 10, n * 11 % 60) for n in range(60)]
    made = tell([*moves[:30], (44, 0, 0, 1, 0), *moves[30:]])
    rows, said = logged(made)
    mine = [row for row in rows if wire.decode(row[2]).run in ("r", "policy")]
    report = replay(mine, {o: v for o, v in said if wire.decode_verdict(v).run == "r"}, run="r")

    assert report.equal
    assert report.runs == 1
    assert report.compared > 10


def test_values_that_are_no_events_are_counted() -> None:
    """The judge refused them; they changed nothing then, and change nothing now."""
    rows, said = logged(BUSY)
    last = rows[-1][0]
    rows.insert(4, (rows[3][0], 0, b"no event"))
    report = replay([*rows, (last + 1, 1, b"{}"), (last + 2, 1, b"")], said)

    assert report.equal
    assert report.unreadable == 3


def test_events_behind_the_last_verdict_were_not_judged_yet() -> None:
    """The archivist may be ahead of the judge; that is no difference, unless it must not be."""
    rows, said = logged(BUSY)
    report = replay(rows, said[:-2])
    assert report.equal
    assert report.unjudged > 0

    assert not replay(rows, said[:-2], judged_until=rows[-1][0] + 1).equal
    assert replay(rows, said[:-2], judged_until=said[-2][0]).equal


def test_of_two_verdicts_of_one_event_the_first_counts() -> None:
    """A judge that was frozen may publish after another took over."""
    rows, said = logged(BUSY)
    again = [(o, v) for o, v in said for _ in range(2)]

    assert replay(rows, again).equal
    assert replay(rows, again).compared == len(said)


NO_UNITS = b'{"lease":"l","agent":"lead","holder":"p1","units":%s,"ttl_ms":1}'
BROKEN = b'{"offset":1,"run":"r","lease":' + NO_UNITS + b"}"


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", b"{}", b'{"offset":1}', BROKEN % b"[1]", BROKEN % b"[1,1,1,1,%d]" % 2**70],
)
def test_a_verdict_that_cannot_be_read_is_a_difference(value: bytes) -> None:
    """Corruption is found, and does not stop the replay."""
    rows, said = logged(BUSY)
    report = replay(rows, [*said[:2], (said[2][0], value), *said[3:]])

    assert not report.equal
    assert report.first is not None
    assert report.first.offset == said[2][0]


def test_a_report_is_plain_data() -> None:
    """`--json` and a person read the same facts."""
    rows, said = logged(BUSY)
    report = replay(rows, changed(said, 1, refusal="no"))
    found = facts(report)

    assert found["equal"] is False
    assert found["first"]["fields"] == ["refusal"]
    assert "FOLD_VERSION" in str(report)
    assert facts(replay([], []))["events"] == 0
    assert TIGHT.digest in wire.decode(rows[0][2]).digest  # type: ignore[attr-defined]
