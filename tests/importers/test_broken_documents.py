"""Whatever is in a document, an importer answers with runs that fold, or with a refusal.

Sound documents with one or more values replaced by anything: that is how real exports are broken.
"""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.importers import FORMATS, ImportedRun, RefusedFile
from ledger.wire import decode, encode
from tests.importers.made import check, observation, read, trace

_TOOL_CALL = {"id": "c", "function": {"name": "f", "arguments": '{"x": [1]}'}}
SOUND: dict[str, list[Any]] = {
    "langfuse": [
        trace(
            observation("boss", "AGENT", 0, 9, input='{"messages": [{"role": "user"}]}'),
            observation(
                "m",
                "GENERATION",
                1,
                2,
                parent="boss",
                usageDetails={"input": 1, "total": 9, "details": {"x": 2}},
                costDetails={"total": 0.1},
                model="m",
            ),
            observation("w", "GENERATION", 0, 3, id="w", usage={"input": 2}),
            observation("t", "TOOL", 3, 4, parent="boss", level="ERROR", statusMessage="no"),
            observation(
                "x.start-1",
                "SPAN",
                4,
                5,
                parent="t",
                output={"kwargs": {"tool_call_id": "c", "content": [{"text": "y"}]}},
                attributes={"target": "x.start", "agent_name": "a", "crew_tasks": "[{}]"},
            ),
            observation("handoff to boss", "TOOL", 5, 6),
            scores=[{"name": "s", "value": 1, "timestamp": "2026-01-05T10:00:00Z"}],
            tags=["a"],
            metadata='{"attributes": "{}"}',
            input={"new_message": {"parts": [{"text": "hi"}], "role": "user"}},
        )
    ],
    "chat": [
        {
            "question": "q",
            "question_ID": "1",
            "is_correct": True,
            "mistake_step": "0",
            "system_prompt": {"A": "x", "B": "y"},
            "history": [
                {"name": "A", "role": "user", "content": "```py\n1\n```"},
                {"name": "Computer_terminal", "role": "user", "content": "exitcode: 1 (failed)"},
                {"role": "B (-> A)", "content": [{"text": "do"}]},
                {"role": "A", "content": "done"},
            ],
        }
    ],
    "openai": [
        {
            "task_id": 1,
            "trial": 0,
            "reward": 0.5,
            "info": {"task": {"instruction": "do"}, "source": "user"},
            "traj": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": None, "tool_calls": [_TOOL_CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "Error: x"},
                {"role": "assistant", "function_call": {"name": "g"}, "usage": {"input": 1}},
            ],
        }
    ],
}

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 2**53, 1e308, -0.5, float("nan"), float("inf")]),
    st.sampled_from(["", "\ud800", "x" * 5000, "[", "{}", "null", '"[1]"', "0001-01-01T00:00:00"]),
    st.sampled_from(["9999-12-31T23:59:59+23:59", "boss", "AGENT", "chat", "system", "tool"]),
    st.text(max_size=20),
    st.sampled_from(
        [[], {}, [[]], [None], {"": ""}, {"id": []}, [{"role": "user", "content": {}}]]
    ),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a document."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*at, key))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*at, index))
    return found


def broken(document: Any, changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """The document with some values replaced; a place that is gone by then stays gone."""
    document = copy.deepcopy(document)
    for place, value in changes:
        holder = document
        try:
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = copy.deepcopy(value)
        except (TypeError, KeyError, IndexError):
            continue
    return document


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
def test_a_broken_document_never_breaks_the_import(format: str, data: st.DataObject) -> None:
    """One odd value in a million spans must cost that span or that run, not the import."""
    document = SOUND[format]
    change = st.tuples(st.sampled_from(places(document)), ODD)
    results = read(format, broken(document, data.draw(st.lists(change, min_size=1, max_size=4))))

    assert results
    for result in results:
        if isinstance(result, RefusedFile):
            json.dumps(result.reason).encode()
            continue
        check(result)
        assert [decode(encode(event)) for event in result.events] == result.events


@pytest.mark.parametrize("format", FORMATS)
def test_the_sound_documents_are_sound(format: str) -> None:
    """Else the test above breaks what was never whole."""
    for result in read(format, SOUND[format]):
        assert isinstance(result, ImportedRun)
        check(result)


@given(value=ODD | st.lists(ODD, max_size=3))
def test_any_value_at_all_is_answered(value: object) -> None:
    """A file may hold any JSON."""
    for format in FORMATS:
        assert read(format, value)


def test_half_a_surrogate_pair_is_replaced() -> None:
    """JSON may carry one, no UTF-8 can; an event with it could not be written."""
    odd = "\ud800 and more"
    document = trace(observation(odd, "TOOL", 0, 1, input=odd, output=odd), name=odd, input=odd)
    [run] = read("langfuse", document)

    assert isinstance(run, ImportedRun)
    assert [decode(encode(event)) for event in run.events] == run.events
    json.dumps(run.skipped).encode()
