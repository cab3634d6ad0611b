"""What the spans of many frameworks are, and what their model calls used and cost."""

from collections import Counter
from typing import Any

import pytest

from ledger.core import events as e
from tests.importers.made import check, observation, of, read_one, trace


def generation(usage: dict[str, Any], **fields: Any) -> e.ModelCallEnded:
    """The end of one model call with this usage."""
    document = trace(observation("llm", "GENERATION", 1, 2, usageDetails=usage, **fields))
    [ended] = of(read_one("langfuse", document), e.ModelCallEnded)
    assert isinstance(ended, e.ModelCallEnded)
    return ended


@pytest.mark.parametrize(
    ("attributes", "cls"),
    [
        ({"openinference.span.kind": "AGENT"}, e.AgentStarted),
        ({"traceloop.span.kind": "agent"}, e.AgentStarted),
        ({"gen_ai.operation.name": "invoke_agent"}, e.AgentStarted),
        ({"agent_name": "writer"}, e.AgentStarted),
        ({"langsmith.span.kind": "llm"}, e.ModelCallStarted),
        ({"gen_ai.operation.name": "embeddings"}, e.ModelCallStarted),
        ({"gen_ai.operation.name": "execute_tool"}, e.ToolCallStarted),
        ({"gen_ai.tool.name": "grep"}, e.ToolCallStarted),
        ({"traceloop.span.kind": "workflow"}, None),
        ({"openinference.span.kind": "CHAIN"}, None),
    ],
)
def test_untyped_spans_are_what_their_attributes_state(
    attributes: dict[str, str], cls: type[e.Event] | None
) -> None:
    """Most frameworks type nothing; each convention has its own attribute."""
    # The second agent keeps the first from being the lead, so that both are started.
    others = [observation("other", "AGENT", 0, 9), observation("loose", "TOOL", 0, 9)]
    span = observation("x", "SPAN", 1, 2, parent="other", attributes=attributes)
    without = read_one("langfuse", trace(*others))
    run = read_one("langfuse", trace(*others, span))

    check(run)
    more = Counter(map(type, run.events)) - Counter(map(type, without.events))
    assert (cls in more) if cls else (not more)
    assert run.skipped == ({} if cls else {"span 'span:x' fits no event": 1})


def test_crewai_roles_are_found_beside_the_tasks() -> None:
    """The span of a task has the task's id; whose it is stands in another span."""
    tasks = '[{"id": "7", "agent_role": "Editor"}, {"id": [], "agent_role": 3}]'
    run = read_one(
        "langfuse",
        trace(
            observation("Crew Created", "SPAN", 0, 1, attributes={"crew_tasks": tasks}),
            observation(
                "Task",
                "SPAN",
                1,
                2,
                attributes={"openinference.span.kind": "AGENT", "task_id": "7"},
            ),
        ),
    )

    check(run)
    assert run.events[0].agent == "Editor"


def test_a_model_call_seen_twice_is_counted_once() -> None:
    """A framework's span around its client's span would double the tokens of the run."""
    run = read_one(
        "langfuse",
        trace(
            observation("outer", "GENERATION", 0, 5, usageDetails={"input": 90}),
            observation("step", "SPAN", 1, 4, parent="outer"),
            observation("inner", "GENERATION", 2, 3, parent="step", usageDetails={"input": 40}),
        ),
    )

    check(run)
    assert [event.input_tokens for event in of(run, e.ModelCallEnded)] == [40]
    assert "span 'generation:outer' wraps the model call that is counted" in run.skipped


def test_a_wrapper_that_alone_knows_the_tokens_is_kept() -> None:
    """Else the tokens would be lost."""
    run = read_one(
        "langfuse",
        trace(
            observation("outer", "GENERATION", 0, 5, usageDetails={"input": 90}),
            observation("inner", "GENERATION", 2, 3, parent="outer"),
        ),
    )

    assert [event.input_tokens for event in of(run, e.ModelCallEnded)] == [90]
    assert "span 'generation:inner' is inside the model call that is counted" in run.skipped


def test_a_model_call_under_a_tool_is_another_call() -> None:
    """An agent used as a tool calls a model of its own."""
    run = read_one(
        "langfuse",
        trace(
            observation("outer", "GENERATION", 0, 5, usageDetails={"input": 90}),
            observation("tool", "TOOL", 1, 4, parent="outer"),
            observation("inner", "GENERATION", 2, 3, parent="tool", usageDetails={"input": 40}),
        ),
    )

    check(run)
    assert [event.input_tokens for event in of(run, e.ModelCallEnded)] == [40, 90]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input": 10, "output": 4, "total": 14}, (10, 4, 0, 0)),
        # OpenAI counts what was cached and thought inside.
        (
            {"input": 10, "output": 4, "total": 14, "prompt_details.cache_read": 6},
            (4, 4, 6, 0),
        ),
        ({"input": 10, "output": 4, "total": 14, "completion_details.reasoning": 3}, (10, 4, 0, 0)),
        # LangChain's callback counts them beside.
        (
            {"input": 10, "output": 4, "total": 25, "input_cache_read": 6, "output_reasoning": 5},
            (10, 9, 6, 0),
        ),
        # Anthropic: beside, and no total.
        (
            {"input": 1, "output": 2, "cache_read_input_tokens": 225, "input_cache_creation": 9},
            (1, 2, 225, 9),
        ),
        ({"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 8}}, (0, 0, 8, 0)),
        ({}, (0, 0, 0, 0)),
        ({"input": -5, "output": "many", "total": None}, (0, 0, 0, 0)),
        ({"input": 1e300, "output": True}, (0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_tokens_are_counted_whole_and_once(
    usage: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """Cache reads are most of the bill of a fleet; counted twice or not at all, the bill lies."""
    ended = generation(usage)

    assert (
        ended.input_tokens,
        ended.output_tokens,
        ended.cache_read_tokens,
        ended.cache_write_tokens,
    ) == expected


@pytest.mark.parametrize(
    ("fields", "microdollars", "known"),
    [
        ({"costDetails": {"total": 0.000223}}, 223, True),
        ({"costDetails": {"total": 0}}, 0, True),
        ({"costDetails": {}, "totalCost": 0}, 0, False),
        ({"totalCost": 1.5}, 1_500_000, True),
        ({"calculatedTotalCost": 0.25}, 250_000, True),
        ({"costDetails": {"total": -1.0}}, 0, False),
        ({}, 0, False),
    ],
)
def test_a_cost_that_nobody_knows_is_not_free(
    fields: dict[str, Any], microdollars: int, known: bool
) -> None:
    """Langfuse writes 0 for a model without a price; the report must say unknown."""
    ended = generation({"input": 1}, **fields)

    assert (ended.cost_microdollars, ended.cost_known) == (microdollars, known)


def test_tokens_in_a_total_only_are_said() -> None:
    """Vertex hides what was thought in the total; which way it counts nobody says."""
    document = trace(
        observation("llm", "GENERATION", 1, 2, usageDetails={"input": 5, "output": 8, "total": 20})
    )
    run = read_one("langfuse", document)

    assert run.skipped == {"tokens of a model call stated only in a total": 1}


def test_a_langchain_tool_message_is_a_tool_call() -> None:
    """LangGraph types its tools SPAN; only what comes back says that it is a tool."""
    message = {"type": "tool", "tool_call_id": "c1", "status": "error", "content": "no such city"}
    run = read_one("langfuse", trace(observation("weather", "SPAN", 0, 1, output=message)))

    check(run)
    [ended] = of(run, e.ToolCallEnded)
    assert ended.error == "no such city"
    assert ended.result_bytes == len("no such city")


def test_beeai_notes_become_one_call() -> None:
    """BeeAI exports each thing it emits as a span, and all of them end with the run."""

    def note(name: str, start: float, **fields: Any) -> dict[str, Any]:
        attributes = {"openinference.span.kind": "TOOL", "target": name.rpartition("-")[0]}
        return observation(name, "SPAN", start, 9, attributes=attributes, **fields)

    run = read_one(
        "langfuse",
        trace(note("tool.wiki.start-3", 1), note("tool.wiki.success-3", 4, output="Barcelona"),
              note("tool.wiki.start-4", 5), note("tool.wiki.error-4", 6, output="timed out")),
    )  # fmt: skip

    check(run)
    assert [event.tool for event in of(run, e.ToolCallStarted)] == ["tool.wiki", "tool.wiki"]
    assert [event.at_ms % 60_000 for event in of(run, e.ToolCallEnded)] == [4000, 6000]
    assert [event.error for event in of(run, e.ToolCallEnded)] == ["", "timed out"]
