"""Real traces of other people's agents: every file imports, folds, and comes out as counted.

The data stays where it is: LEDGER_DATA names its folder; else it is looked for beside the
repository. The figures are those of that data; a change here must be explained.
"""

import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from ledger.core import events as e
from ledger.core.events import Event
from ledger.importers import ImportedRun, Result, Summary, import_paths
from ledger.wire import decode, encode
from tests.importers.made import check

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("LEDGER_DATA", BESIDE))
FOLDERS = {"langfuse": "langfuse", "chat": "who_and_when", "openai": "tau_bench"}

pytestmark = pytest.mark.skipif(
    not (DATA / "README.md").exists(), reason="no real traces here: set LEDGER_DATA to their folder"
)


@cache
def results(format: str) -> tuple[Result, ...]:
    return tuple(import_paths(format, [DATA / FOLDERS[format]]))


def runs(format: str) -> list[ImportedRun]:
    return [result for result in results(format) if isinstance(result, ImportedRun)]


def events(format: str) -> Iterable[Event]:
    return (event for run in runs(format) for event in run.events)


@pytest.mark.parametrize(
    ("format", "expected"),
    [("langfuse", (19, 23, 195)), ("chat", (126, 468, 3386)), ("openai", (200, 200, 8036))],
)
def test_every_file_is_imported(format: str, expected: tuple[int, int, int]) -> None:
    """Runs, agents and events; one Langfuse trace is there twice, and counts once."""
    told = Summary()
    for result in results(format):
        told.add(result)

    assert told.refused == []
    assert (told.runs, told.agents, told.events) == expected
    assert told.skipped["file: neither .json nor .jsonl"] == 1
    assert told.skipped["run read before"] == (format == "langfuse")


@pytest.mark.parametrize("format", FOLDERS)
def test_every_run_folds_without_a_refusal(format: str) -> None:
    """An import that the judge refuses in part would give wrong answers in silence."""
    for run in runs(format):
        check(run)


@pytest.mark.parametrize("format", FOLDERS)
def test_every_event_goes_over_the_wire(format: str) -> None:
    """Limits on lengths and numbers hold there, whatever was in the file."""
    for event in events(format):
        assert decode(encode(event)) == event


@pytest.mark.parametrize("format", FOLDERS)
def test_importing_twice_adds_nothing(format: str) -> None:
    """Same run, source and numbers the second time: the ledger has heard them."""
    assert tuple(import_paths(format, [DATA / FOLDERS[format]])) == results(format)


def test_frameworks_without_types_have_their_agents_and_tools() -> None:
    """Only 5 of the 20 Langfuse files type a span AGENT; the rest say it in other ways."""
    by_file = {Path(run.origin).name.split("-20")[0]: run for run in runs("langfuse")}
    leads = {name: run.events[0].agent for name, run in by_file.items()}
    tools = {
        name: [event.tool for event in run.events if isinstance(event, e.ToolCallStarted)]
        for name, run in by_file.items()
    }

    assert leads["agno"] == "Agent.run"
    assert leads["crewai"] == "Software developer"
    assert leads["pydantic-ai"] == "qa_agent"
    assert leads["langgraph-python"] == "LangGraph"
    assert tools["beeai"] == ["tool.search.wikipedia"]
    assert tools["koog"] == ["ByeTool", "HelloTool"]
    assert tools["langgraph-js"] == ["get_weather"]
    assert [event.agent for event in by_file["pydantic-ai-tools"].events
            if isinstance(event, e.AgentStarted)] == [
        "joke_agent", "joke_agent#2", "evaluator_agent",
    ]  # fmt: skip


def test_the_tokens_and_the_cost_of_langfuse_are_counted_once() -> None:
    """Against sums made by hand over the observations that are no wrappers."""
    ended = [event for event in events("langfuse") if isinstance(event, e.ModelCallEnded)]

    assert len(ended) == 36
    assert all(event.cost_known for event in ended)
    assert sum(event.input_tokens for event in ended) == 17_356
    assert sum(event.output_tokens for event in ended) == 5_061
    assert sum(event.cost_microdollars for event in ended) == 21_089


def test_the_terminal_and_the_labels_of_who_and_when_are_there() -> None:
    """303 turns of the terminal, 157 of them in vain; every run with whose mistake it was."""
    ended = [event for event in events("chat") if isinstance(event, e.ToolCallEnded)]
    outcomes = [event for event in events("chat") if isinstance(event, e.OutcomeReported)]

    assert (len(ended), sum(bool(event.error) for event in ended)) == (303, 157)
    assert len(outcomes) == 126
    assert all(event.success is False for event in outcomes)
    for run in runs("chat"):
        agents = {event.agent for event in run.events}
        assert run.events[-1].labels["mistake_agent"] in agents  # type: ignore[attr-defined]


def test_the_trials_of_tau_bench_are_comparable() -> None:
    """50 tasks of 4 trials each, by the task key that stability is compared by."""
    started = [event for event in events("openai") if isinstance(event, e.RunStarted)]
    outcomes = [event for event in events("openai") if isinstance(event, e.OutcomeReported)]
    ended = [event for event in events("openai") if isinstance(event, e.ToolCallEnded)]

    assert Counter(Counter(event.task_key for event in started).values()) == {4: 50}
    assert sum(event.success is True for event in outcomes) == 84
    assert (len(ended), sum(bool(event.error) for event in ended)) == (1164, 73)
