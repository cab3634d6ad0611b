"""Laws 2, 3 and 8: the same gives the same, repeats are silent, bad input stops nobody."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from array import array
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import wire
from ledger.core import codec
from ledger.core.events import EVENT_TYPES, Event, Record
from ledger.core.fold import apply_published, compare, fold
from ledger.core.state import Agent, Run, State
from ledger.core.verdicts import Verdict
from ledger.wire import UnreadableEvent, decode, decode_verdict, encode, encode_verdict
from tests.runs import MOVES, SHADOW, TIGHT, Told, any_runs, moves, said, snapshot, tell


def through_the_wire(verdict: Verdict | None) -> Verdict | None:
    """The verdict as a judge finds it in the log."""
    return None if verdict is None else decode_verdict(encode_verdict(verdict))


def published(verdict: Verdict | None, ours: Verdict | None) -> Verdict | None:
    """What was published, whatever this code would say."""
    return through_the_wire(verdict)


@given(any_runs())
def test_2_the_same_events_give_the_same_verdicts(told: Told) -> None:
    """A judge that takes over, and an auditor a year later, must come to the same."""
    state, verdicts = told.judged()
    again, repeated = told.judged()

    assert said(repeated) == said(verdicts)
    assert snapshot(again) == snapshot(state)


def test_2_another_process_comes_to_the_same_verdicts() -> None:
    """Python hashes strings anew in each process; no verdict may depend on it."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", "from tests.test_laws_fold import digest; print(digest())"],
            env={"PYTHONHASHSEED": seed}, cwd=Path(__file__).parents[1],
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip

    assert outputs == [f"{digest()}\n"] * 2


def digest() -> str:
    """What is said of, and kept from, forty scripted runs, as one digest."""
    dice, found = random.Random(4127), hashlib.sha256()
    for _ in range(40):
        made = [(dice.randrange(len(MOVES)), dice.randrange(12), dice.randrange(10),
                 dice.randrange(10), dice.randrange(60)) for _ in range(80)]  # fmt: skip
        state, verdicts = tell(made).judged()
        found.update(b"\n".join([*said(verdicts), repr(snapshot(state)).encode()]))
    return found.hexdigest()


@given(any_runs())
def test_2_an_event_read_back_is_judged_as_it_was(told: Told) -> None:
    """What the log holds is bytes: nothing that decides may be lost in them."""
    state = State(0)
    back = [Record(r.offset, r.append_ms, decode(encode(r.event))) for r in told.records]

    assert said([fold(state, record) for record in back]) == said(told.judged()[1])


@given(any_runs())
def test_2_folding_is_deciding_and_applying_what_was_decided(told: Told) -> None:
    """A judge that restores applies what was published; it must end where the first one stood.

    It also shows that deciding changes nothing: here one state decides and the other does not.
    """
    decided, applied, compared = State(0), State(0), State(0)
    for record in told.records:
        verdict = fold(decided, record)
        apply_published(applied, record, through_the_wire(verdict))
        would = compare(compared, record, partial(published, verdict))

        assert said([would]) == said([verdict])
        assert snapshot(applied) == snapshot(decided) == snapshot(compared)


@given(moves(), st.data())
def test_2_what_was_decided_otherwise_is_applied_all_the_same(made: Any, data: Any) -> None:
    """What another version decided was acted on: it stands, and never breaks this one."""
    ours, theirs = tell(made, TIGHT), tell(made, SHADOW)
    verdicts = theirs.judged()[1]
    state = State(0)
    for record, verdict in zip(ours.records, verdicts, strict=True):
        refused = Verdict(record.offset, record.event.run, refusal="another version says no")
        said_of_it = data.draw(st.sampled_from([verdict, verdict, None, refused]))
        apply_published(state, record, said_of_it)

    snapshot(state)


@given(any_runs(), st.integers(0, 60))
def test_2_a_run_written_down_and_read_back_goes_on_the_same(told: Told, cut: int) -> None:
    """A checkpoint is a cache: whoever goes on from it says what would have been said."""
    state, verdicts = State(0), []
    for place, record in enumerate(told.records):
        if place == cut:
            for run_id, run in tuple(state.runs.items()):
                state.runs[run_id] = codec.load_run(codec.dump_run(run), state)
        verdicts.append(fold(state, record))

    plain, expected = told.judged()
    assert said(verdicts) == said(expected)
    assert snapshot(state) == snapshot(plain)


@given(any_runs())
def test_2_a_run_written_down_twice_is_the_same_bytes(told: Told) -> None:
    """Nothing is lost in writing: what is read back writes down equal."""
    state, _ = told.judged()
    for run in state.runs.values():
        written = codec.dump_run(run)

        assert codec.dump_run(codec.load_run(written, state)) == written


def whole(thing: object) -> Any:
    """Everything that an object of the state holds, slot by slot, in comparable form."""
    if isinstance(thing, dict):
        return [(key, whole(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [whole(part) for part in thing]
    if isinstance(thing, Run):
        slots = [slot for slot in Run.__slots__ if slot not in ("policy", "rules", "limits")]
        heap = sorted((o.expires_ms, o.id) for o in thing.leases.values() if not o.forfeit)
        return [heap, *(whole(getattr(thing, slot)) for slot in slots if slot != "expiries")]
    if isinstance(thing, Agent):
        parent = thing.parent and thing.parent.id
        slots = [slot for slot in Agent.__slots__ if slot not in ("parent", "limits")]
        return [parent, *(whole(getattr(thing, slot)) for slot in slots)]
    if hasattr(thing, "__slots__") and not isinstance(thing, array):
        return [whole(getattr(thing, slot)) for slot in thing.__slots__]
    return thing


@given(any_runs())
def test_2_nothing_is_left_out_when_a_run_is_written_down(told: Told) -> None:
    """A field that somebody adds and forgets to write is lost at the first take-over."""
    state, _ = told.judged()
    for run in state.runs.values():
        assert whole(codec.load_run(codec.dump_run(run), state)) == whole(run)


@given(any_runs(), st.data())
def test_3_an_earlier_record_again_is_silent(told: Told, data: Any) -> None:
    """The log delivers at least once; what was heard before changes nothing."""
    state = State(0)
    for place, record in enumerate(told.records):
        fold(state, record)
        before = snapshot(state)
        earlier = data.draw(st.sampled_from(told.records[: place + 1]))

        assert fold(state, earlier) is None or earlier.event.run not in state.runs
        assert snapshot(state) == before


@given(any_runs(), st.data())
def test_3_any_prefix_again_is_silent(told: Told, data: Any) -> None:
    """After a rebalance the feed starts anew somewhere before."""
    state, _ = told.judged()
    before = snapshot(state)
    for record in told.records[: data.draw(st.integers(0, len(told.records)))]:
        fold(state, record)

    assert snapshot(state) == before


@given(any_runs(), st.data())
def test_3_an_event_sent_again_is_silent(told: Told, data: Any) -> None:
    """A client that saw no answer sends again: the log gives the same event another offset."""
    state, _ = told.judged()
    numbered = [r for r in told.records if r.event.seq and r.event.run in state.runs]
    if not numbered:
        return
    again = data.draw(st.sampled_from(numbered))
    run = state.runs[again.event.run]
    if again.event.seq > run.sources.get(again.event.source, 0):
        return  # It was refused as from an unknown source, so it was not heard.
    before = codec.dump_run(run)
    repeats, last = run.repeats, run.offset
    end = told.records[-1]

    assert fold(state, Record(end.offset + 10, end.append_ms, again.event)) is None
    assert run.repeats == repeats + 1
    run.repeats, run.offset = repeats, last
    assert codec.dump_run(run) == before


@given(st.binary(max_size=300))
def test_8_bytes_that_are_no_event_are_refused_with_a_reason(value: bytes) -> None:
    """Anybody may write to the log; the reader says what is wrong, and goes on."""
    with pytest.raises(UnreadableEvent) as refused:
        decode(value)

    assert refused.value.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = sorted({key for cls in EVENT_TYPES for key in cls.model_fields})
TYPES = [str(cls.model_fields["type"].default) for cls in EVENT_TYPES]


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(TYPES))
def test_8_json_of_a_known_type_is_read_or_refused(fields: dict[str, Any], of: str) -> None:
    """Foreign publishers get fields wrong; nothing but the refusal comes of it."""
    value = json.dumps({"run": "r", **fields, "type": of}).encode()
    try:
        event = decode(value)
    except UnreadableEvent:
        return

    assert isinstance(event, Event)
    assert decode(encode(event)) == event


@given(any_runs(), st.data())
def test_8_a_mutated_event_never_breaks_the_judge(told: Told, data: Any) -> None:
    """A wrong value that is still an event is judged or refused like any other."""
    state, _ = told.judged()
    end = told.records[-1]
    for n in range(5):
        event = data.draw(st.sampled_from(told.records)).event
        fields = json.loads(encode(event))
        key = data.draw(st.sampled_from(KEYS))
        fields[key] = data.draw(JSON | st.sampled_from([2**53 - 1, "lead", "a", "c1", "0-1"]))
        try:
            mutated = decode(json.dumps(fields).encode())
        except UnreadableEvent:
            continue
        fold(state, Record(end.offset + 1 + n, end.append_ms + n, mutated))
        snapshot(state)


@given(any_runs(), st.data())
def test_8_a_refused_event_changes_nothing(told: Told, data: Any) -> None:
    """It cannot follow what came before; only its number is noted."""
    state = State(0)
    for record in told.records:
        run = state.runs.get(record.event.run)
        twin = State(0)
        twin.policies = state.policies
        kept = None if run is None else codec.dump_run(run)
        verdict = fold(state, record)
        if verdict is None or not verdict.refusal or run is None or kept is None:
            continue
        other = codec.load_run(kept, twin)
        twin.runs[run.id] = other
        # The same moment without the event: a repeat moves nothing but the clock.
        silent = Verdict(record.offset, run.id, refusal="as if it were not there")
        nobody = wire.decode(b'{"type":"outcome_reported","run":"%s"}' % run.id.encode())
        apply_published(twin, Record(record.offset, record.append_ms, nobody), silent)
        other.sources = dict(run.sources)

        if not run.observed:
            assert codec.dump_run(other) == codec.dump_run(run)
