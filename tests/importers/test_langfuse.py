"""Langfuse traces: who acted, in which order, with which tokens and at which cost."""

import random

import pytest

from ledger.core import events as e
from ledger.importers import RefusedFile
from tests.importers.made import check, lines, observation, of, read, read_one, trace


def test_a_typed_trace_is_told_whole() -> None:
    """The plain case: an agent, its subagent, a model call, a tool call."""
    run = read_one(
        "langfuse",
        trace(
            observation("boss", "AGENT", 0, 9, input='{"prompt": "Find three papers"}'),
            observation("scout", "AGENT", 1, 8, parent="boss"),
            observation("chat", "GENERATION", 2, 3, parent="scout", model="m-1"),
            observation("search", "TOOL", 4, 5, parent="scout", input={"q": "x"}, output="y"),
        ),
    )

    check(run)
    assert lines(run) == [
        "run_started boss",
        "agent_started scout boss",
        "model_call_started scout model-2",
        "model_call_ended scout model-2",
        "tool_call_started scout tool-3",
        "tool_call_ended scout tool-3",
        "agent_ended scout",
        "agent_ended boss",
        "run_ended boss",
    ]
    started = run.events[0]
    assert isinstance(started, e.RunStarted)
    assert (started.task, started.time_known, started.at_ms) == (
        "Find three papers",
        True,
        1767607200000,
    )


def test_the_order_of_observations_in_the_file_changes_nothing() -> None:
    """Two exports of one trace list the same spans differently, and must be one run."""
    spans = [
        observation("boss", "AGENT", 0, 9),
        *(observation(f"a{n}", "AGENT", 1, 1, parent="boss") for n in range(5)),
        *(observation(f"m{n}", "GENERATION", 1, 1, parent=f"a{n}") for n in range(5)),
    ]
    expected = read_one("langfuse", trace(*spans))
    random.Random(5).shuffle(spans)

    assert read_one("langfuse", trace(*spans)).events == expected.events


def test_without_agent_spans_the_trace_is_the_lead() -> None:
    """A LangGraph node called "agent" is a node; nobody said that it is an agent."""
    run = read_one(
        "langfuse",
        trace(
            observation("LangGraph", "SPAN", 0, 3),
            observation("agent", "SPAN", 1, 2, parent="LangGraph"),
            observation("llm", "GENERATION", 1, 2, parent="agent"),
        ),
    )

    check(run)
    assert run.agents == 1
    assert run.events[0].agent == "demo"
    assert run.skipped == {
        "span 'span:LangGraph' fits no event": 1,
        "span 'span:agent' fits no event": 1,
    }


def test_agents_of_one_name_are_several() -> None:
    """Five researchers at once are a fan-out of five, not one agent that started five times."""
    run = read_one(
        "langfuse",
        trace(
            observation("boss", "AGENT", 0, 9),
            *(
                observation(
                    f"run{n}", "AGENT", 1, 8, parent="boss", attributes={"agent_name": "scout"}
                )
                for n in range(3)
            ),
        ),
    )

    check(run)
    started = of(run, e.AgentStarted)
    assert [event.agent for event in started] == ["scout", "scout#2", "scout#3"]
    assert {event.role for event in started} == {"scout"}


def test_a_span_inside_the_same_agent_is_no_second_agent() -> None:
    """Koog writes create_agent around invoke_agent, with one agent id on both."""
    same = {"gen_ai.agent.id": "a-1"}
    run = read_one(
        "langfuse",
        trace(
            observation("create", "AGENT", 0, 9, attributes=same),
            observation("invoke", "AGENT", 1, 8, parent="create", attributes=same),
            observation("llm", "GENERATION", 2, 3, parent="invoke"),
        ),
    )

    check(run)
    assert run.agents == 1
    assert run.skipped == {"span 'agent:invoke' is inside one of the same agent": 1}


def test_errors_are_kept() -> None:
    """A failed call is the first thing an operator looks for."""
    run = read_one(
        "langfuse",
        trace(
            observation("boss", "AGENT", 0, 9, level="ERROR", statusMessage="gave up"),
            observation("t", "TOOL", 1, 2, parent="boss", level="ERROR", statusMessage="429"),
            observation("m", "GENERATION", 3, 4, parent="boss", level="ERROR"),
        ),
    )

    check(run)
    assert [event.error for event in of(run, e.ToolCallEnded)] == ["429"]
    assert [event.error for event in of(run, e.ModelCallEnded)] == ["error"]
    assert [event.outcome for event in of(run, e.RunEnded)] == ["failed"]


def test_a_handoff_is_taken_on_by_the_next_agent_of_the_name() -> None:
    """OpenAI Agents hands the conversation over; the giver is done."""
    run = read_one(
        "langfuse",
        trace(
            observation("flow", "AGENT", 0, 9),
            observation("triage", "AGENT", 1, 3, parent="flow"),
            observation("handoff to billing", "TOOL", 2, 3, parent="triage"),
            observation("billing", "AGENT", 3, 8, parent="flow"),
            observation(
                "x.handoff", "SPAN", 5, 5, parent="billing",
                attributes={"gen_ai.handoff.to_agent": "nobody"},
            ),
        ),
    )  # fmt: skip

    check(run)
    assert [line for line in lines(run) if "handoff" in line] == [
        "handoff_offered triage billing",
        "handoff_accepted billing",
        "handoff_offered billing nobody",
    ]


def test_a_child_may_outlive_its_parent() -> None:
    """A child that runs on after its parent is a finding; tidying it up would hide it."""
    run = read_one(
        "langfuse",
        trace(
            observation("root", "AGENT", 0, 9),
            observation("parent", "AGENT", 1, 3, parent="root"),
            observation("child", "AGENT", 2, 8, parent="parent"),
            observation("late", "TOOL", 6, 7, parent="child"),
        ),
    )

    check(run)
    order = lines(run)
    assert order.index("agent_ended parent") < order.index("tool_call_started child tool-3")


def test_clocks_that_differ_do_not_break_the_order() -> None:
    """Children start before their parents, ends come before starts, all in one millisecond."""
    run = read_one(
        "langfuse",
        trace(
            observation("root", "AGENT", 3, 5),
            observation("boss", "AGENT", 5, 5, parent="root"),
            observation("early", "GENERATION", 4, 5, parent="boss"),
            observation("late", "TOOL", 5, 5, parent="boss"),
            observation("backwards", "TOOL", 5, 2, parent="boss"),
            observation("sub", "AGENT", 5, 5, parent="boss"),
            observation("act", "TOOL", 5, 6, parent="sub"),
            observation("idle", "AGENT", 5, 5, parent="root"),
            observation("heir", "AGENT", 5, 5, parent="idle"),
        ),
    )

    check(run)
    assert lines(run)[-1] == "run_ended root"
    boss = of(run, e.AgentStarted)[0]
    [early] = of(run, e.ModelCallStarted)
    assert (boss.agent, boss.at_ms % 60_000, early.at_ms % 60_000) == ("boss", 4000, 4000)


def test_an_offer_comes_before_it_is_taken_on() -> None:
    """In one millisecond too, and however deep the giver stands."""
    run = read_one(
        "langfuse",
        trace(
            observation("flow", "AGENT", 0, 9),
            observation("step", "SPAN", 1, 3, parent="flow"),
            observation("triage", "AGENT", 1, 3, parent="step"),
            observation("handoff to billing", "TOOL", 3, 3, parent="triage"),
            observation("billing", "AGENT", 3, 8, parent="flow"),
        ),
    )

    check(run)
    assert [line for line in lines(run) if "handoff" in line] == [
        "handoff_offered triage billing",
        "handoff_accepted billing",
    ]


def test_what_did_not_end_is_not_ended() -> None:
    """A crashed process leaves spans open; a result would be made up."""
    run = read_one("langfuse", trace(observation("t", "TOOL", 1, None)))

    check(run)
    assert not of(run, e.ToolCallEnded)


def test_scores_are_outcomes_after_the_end() -> None:
    """Toxicity is a score, not success; which score is, nobody says."""
    late = {"id": "b", "name": "toxicity", "value": 0.2, "timestamp": "2026-01-06T00:00:00Z"}
    soon = {"id": "a", "name": "verdict", "stringValue": "good", "timestamp": "2026-01-05T12:00Z"}
    scores = [late, soon, "not a score"]
    run = read_one("langfuse", trace(observation("m", "GENERATION", 0, 1), scores=scores))

    check(run)
    told = [(event.score_millionths, event.success, event.labels) for event in run.events[-2:]]  # type: ignore[attr-defined]
    assert told == [
        (None, None, {"name": "verdict", "value": "good"}),
        (200_000, None, {"name": "toxicity", "value": "0.2"}),
    ]


def test_parents_that_go_in_a_circle_or_nowhere_are_none() -> None:
    """A broken export must not hang the import."""
    run = read_one(
        "langfuse",
        trace(
            observation("a", "AGENT", 0, 5, parent="b"),
            observation("b", "AGENT", 1, 4, parent="a"),
            observation("c", "TOOL", 2, 3, parent="c"),
            observation("d", "TOOL", 2, 3, parent="elsewhere"),
            observation("d", "TOOL", 2, 3),
            {"id": 5},
            {"id": "e", "name": "timeless"},
        ),
    )

    check(run)
    assert run.skipped == {
        "observation 'd' has the id of another one": 1,
        "observation without an id": 1,
        "observation 'timeless' has no start time": 1,
    }


def test_a_deep_trace_is_read() -> None:
    """50 levels were seen; a recursive reader breaks somewhere, an iterative one does not."""
    spans = [observation("s0", "AGENT", 0, 9)]
    spans += [observation(f"s{n}", "AGENT", 0, 9, parent=f"s{n - 1}") for n in range(1, 3000)]
    run = read_one("langfuse", trace(*spans))

    check(run)
    assert run.agents == 3000


def test_an_empty_trace_is_a_run_in_which_nothing_happened() -> None:
    """Langfuse keeps traces whose spans were dropped."""
    run = read_one("langfuse", trace(timestamp="2026-01-05T10:00:00Z"))

    check(run)
    assert lines(run) == ["run_started demo", "agent_ended demo", "run_ended demo"]


@pytest.mark.parametrize(
    ("document", "place", "reason"),
    [
        ({}, "$", "found an empty object"),
        ("hello", "$", 'found the text "hello"'),
        (None, "$", "found null"),
        ([], "$", "an empty list"),
        ({"trace": {"id": 7}, "observations": []}, "$.trace.id", "expected a text, found 7"),
        ({"trace": {"id": "x"}}, "$.observations", "expected a list, found null"),
        ([trace(), 3], "$[1]", "found 3"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_place(
    document: object, place: str, reason: str
) -> None:
    """A person must be able to find the spot in a file of 100 MB."""
    refused = [result for result in read("langfuse", document) if isinstance(result, RefusedFile)]

    assert [result.place for result in refused] == [place]
    assert reason in refused[0].reason


def test_long_names_stay_apart() -> None:
    """Ids are cut to 128 characters; two that differ at the end must still differ."""
    ids = [read_one("langfuse", {"trace": {"id": "x" * 500 + tail}, "observations": []}).run
           for tail in "ab"]  # fmt: skip

    assert len(set(ids)) == 2
    assert all(len(run) <= 128 for run in ids)
