"""Rows of the archive: typed as the schema says, whatever the bytes are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archive.rows import COLUMNS, Batch, typed
from ledger.core.events import EVENT_TYPES, ModelCallEnded, RunEnded, RunStarted
from ledger.core.verdicts import Denial, Verdict
from ledger.wire import encode, encode_verdict, reader

TYPED_OF_EVENTS = [
    name for name in COLUMNS
    if name not in "log partition position offset append_ms run refused payload raw chain".split()
]  # fmt: skip


def rows_of(*values: bytes, log: str = "events", run: str = "r") -> list[dict[str, Any]]:
    """The rows that these values of one run become."""
    places = list(range(1, len(values) + 1))
    batch = Batch(places, places, [1000] * len(values), [run] * len(values), values)
    rows: list[dict[str, Any]] = typed(log, batch).to_pylist()  # type: ignore[arg-type]
    return rows


texts = st.text(max_size=12).filter(lambda text: "\ud800" not in ascii(text))
REQUIRED = {
    "digest": texts.map(lambda t: "d" + t), "constraint": texts.map(lambda t: "c" + t),
    "plan": st.just("p"), "child": texts.map(lambda t: "k" + t), "parent": st.just("root"),
    "call": texts.map(lambda t: "c" + t), "tool": st.just("search"), "model": st.just("m"),
    "handoff": st.just("h"), "to": st.just("b"), "output": st.just("o"), "passed": st.booleans(),
    "wants": st.just({"spawns": 1}), "lease": st.just("L1"), "holder": st.just("x"),
    "order": st.just("o1"), "action": st.just("kill"), "text": texts,
}  # fmt: skip
OPTIONAL = {
    "agent": texts, "source": texts, "seq": st.integers(0, 2**53 - 1), "at_ms": st.integers(0, 9),
    "grade": st.sampled_from(["declared", "observed", "enforced"]), "error": texts,
    "outcome": st.sampled_from(["succeeded", "failed", "killed"]), "role": texts, "lease": texts,
    "task_key": texts, "tenant": texts, "retry_of": texts, "cost_known": st.booleans(),
    "input_tokens": st.integers(0, 2**53 - 1), "output_tokens": st.integers(0, 9),
    "cache_read_tokens": st.integers(0, 9), "cost_microdollars": st.integers(0, 2**53 - 1),
}  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Any event as a foreign publisher may write it: defaults spelled out or left out."""
    kind = draw(st.sampled_from(EVENT_TYPES))
    value: dict[str, Any] = {"type": kind.model_fields["type"].default, "run": "r"}
    for name, field in kind.model_fields.items():
        if name in value:
            continue
        if field.is_required():
            value[name] = draw(REQUIRED[name])
        elif name in OPTIONAL and draw(st.booleans()):
            value[name] = draw(OPTIONAL[name])
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode()


@given(st.lists(events(), min_size=1, max_size=8))
def test_columns_say_what_the_decoded_event_says(values: list[bytes]) -> None:
    """An analyst who asks a column must get the answer that the judge saw."""
    for row, value in zip(rows_of(*values), values, strict=True):
        event = reader()(value)
        for name in TYPED_OF_EVENTS:
            said = getattr(event, name, None)
            empty = said == "" and name not in ("agent", "source", "grade", "type")

            assert row[name] == (None if empty else said), name
        assert row["refused"] is None
        assert row["payload"].encode() == value


NO_EVENTS = [
    b"",
    b"  ",
    b"{}",
    b"null",
    b"[]",
    b"\xff\xfe not text",
    b'{"type":"ticked","run":"r"}{"type":"ticked","run":"r"}',
    b'{"type":"ticked","run":"r",}',
    b'{"type":"unheard_of","run":"r"}',
    b'{"type":"ticked","run":"r","extra":1}',
    b'{"type":"ticked","run":"another"}',
    b'{"type":"ticked","run":"r","seq":-1}',
    b'{"type":"ticked","run":"r","seq":NaN}',
    b'{"type":"ticked"',
    b'{"type":"ticked","run":"' + b"r" * 2_000_000 + b'"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("value", NO_EVENTS, ids=lambda value: repr(value[:40]))
def test_what_is_no_event_is_a_row_with_its_reason(value: bytes) -> None:
    """Bad input stops nobody, shifts nobody's columns, and is kept as it was."""
    before, bad, after = rows_of(
        encode(RunStarted(run="r", agent="a", task_key="t")),
        value,
        encode(RunEnded(run="r", agent="z")),
    )

    assert bad["refused"]
    assert (bad["raw"] if bad["payload"] is None else bad["payload"].encode()) == value
    assert {name: bad[name] for name in TYPED_OF_EVENTS if bad[name] is not None} == {}
    assert (before["task_key"], before["type"]) == ("t", "run_started")
    assert (after["agent"], after["outcome"]) == ("z", "succeeded")


def test_a_key_said_twice_counts_as_the_judge_heard_it() -> None:
    """Otherwise a publisher shows the judge one tool and the archive another."""
    value = b'{"type":"tool_call_started","run":"r","call":"c","tool":"read","tool":"bash"}'
    row = rows_of(value)[0]

    assert reader()(value).tool == "bash"
    assert row["tool"] == "bash"


def test_an_event_over_many_lines_is_one_row() -> None:
    """JSON may hold line breaks between its parts; foreign publishers do that."""
    value = b'{\n "type": "run_ended",\r\n "run": "r",\n "outcome": "failed"\n}'
    other = encode(ModelCallEnded(run="r", call="c", cost_microdollars=7))

    first, second = rows_of(value, other)
    assert (first["outcome"], first["payload"]) == ("failed", value.decode())
    assert (second["cost_microdollars"], second["cost_known"]) == (7, True)


def test_verdicts_carry_decision_and_refusal_as_columns() -> None:
    """What was denied and what was refused is asked most often."""
    denied = Verdict(1, "r", agent="a", at_ms=5, decision="deny", denial=Denial("no"))
    refused = Verdict(2, "r", refusal="the run ended")
    first, second = rows_of(encode_verdict(denied), encode_verdict(refused), log="verdicts")

    assert (first["type"], first["agent"], first["at_ms"]) == ("verdict", "a", 5)
    assert (first["decision"], first["refused"]) == ("deny", None)
    assert (second["decision"], second["refused"]) == (None, "the run ended")
