"""Transcripts with tool calls: turns, tools, errors, and the reward of each trial."""

from typing import Any

import pytest

from ledger.core import events as e
from ledger.importers import RefusedFile
from tests.importers.made import check, lines, read, read_one


def call(tool: str, arguments: str = "{}", id: str = "c1") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": tool, "arguments": arguments}}


def turn(content: str | None, *calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls) or None, **fields}


def answer(content: str, id: str = "c1", name: str = "") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "name": name, "content": content}


def trial(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    task = {"task": {"instruction": "Book a flight"}, "source": "user"}
    return {"task_id": 3, "trial": 1, "reward": 1.0, "info": task, "traj": list(messages), **fields}


def test_a_trial_is_told_whole() -> None:
    """A turn that calls a tool, its answer, a turn that answers the user."""
    run = read_one(
        "openai",
        trial(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "A flight, please"},
            turn(None, call("search", '{"to": "SEA"}')),
            answer("[]"),
            turn("None today."),
        ),
    )

    check(run)
    assert lines(run) == [
        "run_started assistant",
        "model_call_started assistant m2",
        "model_call_ended assistant m2",
        "tool_call_started assistant t2.0",
        "tool_call_ended assistant t2.0",
        "model_call_started assistant m4",
        "model_call_ended assistant m4",
        "agent_ended assistant",
        "run_ended assistant",
        "outcome_reported",
    ]
    assert run.skipped == {"user message": 1}
    started, outcome = run.events[0], run.events[-1]
    assert isinstance(started, e.RunStarted)
    assert isinstance(outcome, e.OutcomeReported)
    assert started.labels == {"task": "3", "trial": "1", "source": "user"}
    assert (started.task, started.time_known) == ("Book a flight", False)
    assert (outcome.success, outcome.score_millionths) == (True, 1_000_000)


def test_trials_of_a_task_share_its_key_and_benchmarks_do_not() -> None:
    """Stability is compared by task key; task 3 of another benchmark is another task."""
    runs = [
        read_one("openai", trial(turn("a"))),
        read_one("openai", trial(turn("b"), trial=2)),
        read_one("openai", trial(turn("a"), info={"task": {"instruction": "Return a shoe"}})),
    ]
    keys = [run.events[0].task_key for run in runs]  # type: ignore[attr-defined]

    assert keys[0] == keys[1] != keys[2]
    assert len({run.run for run in runs[:2]}) == 2


def test_ids_that_come_again_are_different_calls() -> None:
    """Cached answers of a model repeat its call ids: 49 transcripts of tau-bench have that."""
    run = read_one(
        "openai",
        trial(
            turn(None, call("a")),
            answer("1"),
            turn(None, call("b")),
            answer("2"),
            turn(None, call("x", id="p"), call("y", id="q")),
            answer("from y", id="q"),
            answer("from x", id="p"),
            answer("from nobody", id="z"),
        ),
    )

    check(run)
    assert [line for line in lines(run) if "tool_call_ended" in line] == [
        "tool_call_ended assistant t0.0",
        "tool_call_ended assistant t2.0",
        "tool_call_ended assistant t4.1",
        "tool_call_ended assistant t4.0",
    ]
    assert run.skipped == {"tool message that answers no call": 1}


def test_arguments_are_compared_as_values() -> None:
    """A model that repeats itself spaces its JSON differently."""
    run = read_one(
        "openai",
        trial(turn(None, call("a", '{"x":1,"y":2}')), turn(None, call("a", '{"y": 2, "x": 1}'))),
    )
    prints = {event.args_fp for event in run.events if isinstance(event, e.ToolCallStarted)}

    assert len(prints) == 1


def test_an_error_is_what_the_tool_says_it_is() -> None:
    """tau-bench answers with text that starts with Error."""
    run = read_one("openai", trial(turn(None, call("pay")), answer("Error: no such card")))
    [ended] = [event for event in run.events if isinstance(event, e.ToolCallEnded)]

    assert ended.error == "Error: no such card"


def test_a_tool_without_an_answer_stays_open() -> None:
    """The trial ended in the middle; a result would be made up."""
    run = read_one("openai", trial(turn(None, call("slow"))))

    check(run)
    assert not any(isinstance(event, e.ToolCallEnded) for event in run.events)


def test_older_function_calls_and_stated_usage_are_read() -> None:
    """Transcripts from before tool calls have one function a turn, named and not numbered."""
    run = read_one(
        "openai",
        [
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": "not json"},
                "model": "m-1",
                "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
            },
            {"role": "function", "name": "f", "content": [{"type": "text", "text": "ok"}]},
        ],
    )

    check(run)
    ended = run.events[2]
    assert isinstance(ended, e.ModelCallEnded)
    assert (ended.input_tokens, ended.output_tokens, ended.cost_known) == (7, 2, False)
    assert "tool_call_ended assistant t0.0" in lines(run)


@pytest.mark.parametrize("reward", [None, float("nan"), float("inf"), "high", 1e300, True])
def test_a_reward_that_is_no_number_is_no_outcome(reward: object) -> None:
    """Python writes NaN into JSON."""
    run = read_one("openai", trial(turn("a"), reward=reward))

    assert not any(isinstance(event, e.OutcomeReported) for event in run.events)


def test_one_bad_trial_does_not_cost_the_others() -> None:
    """200 trials are one file."""
    bad = trial()
    results = read(
        "openai", [trial(turn("a")), bad, 5, trial(turn("b"), {"role": 5}), trial(turn("c"))]
    )
    refused = [result for result in results if isinstance(result, RefusedFile)]

    assert [result.place for result in refused] == ["$[1].traj", "$[2]", "$[3].traj[1]"]
    assert len(results) == 5
