"""Chat histories: who spoke, what the terminal ran, what people found out afterwards."""

from typing import Any

import pytest

from ledger.core import events as e
from ledger.importers import RefusedFile
from tests.importers.made import check, lines, read, read_one

CODE = "Run this:\n```python\nprint(4)\n```\nand tell me."


def say(name: str | None, content: Any, role: str | None = "user") -> dict[str, Any]:
    return {"name": name, "role": role, "content": content}


def history(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"history": list(messages), "question": "How many?", "question_ID": "q1", **fields}


def test_a_team_is_told_whole() -> None:
    """Two speakers and a terminal: two agents under the chat, and one tool call of who wrote it."""
    run = read_one(
        "chat",
        history(
            say("Coder", CODE),
            say("Computer_terminal", "exitcode: 0 (execution succeeded)\nCode output: 4"),
            say("Checker", "It is 4."),
        ),
    )

    check(run)
    assert lines(run) == [
        "run_started chat",
        "agent_started Coder chat",
        "model_call_started Coder m0",
        "model_call_ended Coder m0",
        "tool_call_started Coder t1",
        "tool_call_ended Coder t1",
        "agent_started Checker chat",
        "model_call_started Checker m2",
        "model_call_ended Checker m2",
        "agent_ended Checker",
        "agent_ended Coder",
        "agent_ended chat",
        "run_ended chat",
    ]


def test_nothing_is_made_up() -> None:
    """No time, no model, no tokens and no price are in a chat; each must be said to be unknown."""
    run = read_one("chat", history(say("A", "hi")))
    started, ended = run.events[0], run.events[3]

    assert isinstance(started, e.RunStarted)
    assert isinstance(ended, e.ModelCallEnded)
    assert (started.time_known, started.task, started.task_key) == (False, "How many?", "q1")
    assert (ended.cost_known, ended.input_tokens, ended.output_tokens) == (False, 0, 0)
    assert not any(isinstance(event, e.OutcomeReported) for event in run.events)


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        ("exitcode: 0 (execution succeeded)\nCode output: 4", False),
        ("exitcode: 1 (execution failed)\nCode output: Traceback", True),
        ("exitcode: -9 (execution failed)", True),
        ("The script ran, then exited with Unix exit code: 2\nIts output was:", True),
        ("some other terminal", False),
    ],
)
def test_the_terminal_says_whether_it_went_well(output: str, failed: bool) -> None:
    """90 of the 236 programs run in Who&When failed; a report without them is worthless."""
    run = read_one("chat", history(say("A", CODE), say("Computer_terminal", output)))
    [call] = [event for event in run.events if isinstance(event, e.ToolCallStarted)]
    [ended] = [event for event in run.events if isinstance(event, e.ToolCallEnded)]

    assert bool(ended.error) is failed
    assert call.args_bytes == len("print(4)\n")


def test_equal_code_has_equal_fingerprints() -> None:
    """Loops are found by them, whatever is written around the code."""
    run = read_one(
        "chat",
        history(
            say("A", CODE),
            say("Computer_terminal", "exitcode: 1 (execution failed)"),
            say("B", "Once more.\n" + CODE),
            say("Computer_terminal", "exitcode: 1 (execution failed)"),
        ),
    )
    calls = [event for event in run.events if isinstance(event, e.ToolCallStarted)]

    assert [call.agent for call in calls] == ["A", "B"]
    assert calls[0].args_fp == calls[1].args_fp != 0


def test_a_terminal_without_code_fails_and_runs_nothing() -> None:
    """AG2 hands the turn to the terminal although nobody wrote code: a wasted turn."""
    text = "There is no code from the last 1 message for me to execute."
    run = read_one("chat", history(say("A", "I think so."), say("Computer_terminal", text)))
    [call] = [event for event in run.events if isinstance(event, e.ToolCallStarted)]
    [ended] = [event for event in run.events if isinstance(event, e.ToolCallEnded)]

    assert (call.agent, call.args_fp, ended.error) == ("A", 0, text)


def test_code_runs_once() -> None:
    """A terminal that speaks twice did not run the code twice: that would look like a loop."""
    ran = say("Computer_terminal", "exitcode: 0 (execution succeeded)")
    run = read_one("chat", history(say("A", CODE), ran, ran))
    prints = [event.args_fp for event in run.events if isinstance(event, e.ToolCallStarted)]

    assert prints[0] != 0
    assert prints[1] == 0


def test_an_orchestrator_states_its_handoffs() -> None:
    """Magentic-One writes names, thoughts and handoffs into the role."""
    run = read_one(
        "chat",
        history(
            say(None, "What is it?", "human"),
            say(None, "Let me think", "Orchestrator (thought)"),
            say(None, "Look it up", "Orchestrator (-> WebSurfer)"),
            say(None, "Found it", "WebSurfer"),
            say(None, "Run it", "Orchestrator (-> ComputerTerminal)"),
            say(None, "done", "ComputerTerminal"),
            say(None, "be nice", "system"),
            say(None, "?", None),
        ),
    )

    check(run)
    assert [line for line in lines(run) if "started" in line or "handoff" in line] == [
        "run_started chat",
        "agent_started Orchestrator chat",
        "model_call_started Orchestrator m1",
        "model_call_started Orchestrator m2",
        "handoff_offered Orchestrator WebSurfer",
        "agent_started WebSurfer chat",
        "handoff_accepted WebSurfer",
        "model_call_started WebSurfer m3",
        "handoff_returned WebSurfer",
        "model_call_started Orchestrator m4",
        "tool_call_started Orchestrator t5",
    ]
    assert run.skipped == {
        "message of a person": 1,
        "system message": 1,
        "message that names no speaker": 1,
    }


def test_labels_are_kept_with_the_outcome() -> None:
    """Whose mistake it was is what makes these histories worth importing."""
    run = read_one(
        "chat",
        history(
            say("A", "4"),
            is_correct=False,
            mistake_agent="A",
            mistake_step="0",
            mistake_reason="It is 8." * 300,
            ground_truth="8",
            system_prompt={"A": "You count.", "B": "You check."},
        ),
    )

    check(run)
    outcome = run.events[-1]
    assert isinstance(outcome, e.OutcomeReported)
    assert outcome.success is False
    assert (outcome.labels["mistake_agent"], outcome.labels["mistake_step"]) == ("A", "0")
    assert (len(outcome.labels["mistake_reason"]), len(outcome.note)) == (512, 2048)
    assert run.skipped == {"member of the team that never speaks": 1}


def test_one_question_asked_twice_is_two_runs() -> None:
    """Two systems answered the same benchmark; the second answer must not be lost."""
    one, other = (read_one("chat", history(say("A", text))) for text in ("4", "8"))

    assert one.run != other.run
    assert one.run == read_one("chat", history(say("A", "4"), level="2")).run


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([1], "$[0]"),
        ({"history": {}}, "$"),
        ({"history": []}, "$.history"),
        ({"history": [{"content": "x"}, "y"]}, "$.history[1]"),
    ],
)
def test_what_is_no_history_is_refused_with_its_place(document: object, place: str) -> None:
    """A person must be able to find the spot."""
    [refused] = read("chat", document)

    assert isinstance(refused, RefusedFile)
    assert refused.place == place
