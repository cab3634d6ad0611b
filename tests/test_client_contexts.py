"""Runs, agents and calls as contexts: what they record, what they refuse, what they let through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ledger
from ledger.core import events as e
from ledger.core.verdicts import TOOL_CALLS, UNITS
from tests.clients import (
    connected,
    heard,
    is_in_order,
    judged,
    limits,
    of_type,
    refusals,
    state_of,
    types,
)


@pytest.fixture
def led(tmp_path: Path) -> Iterator[ledger.Ledger]:
    with connected(tmp_path) as opened:
        yield opened


def test_a_run_is_recorded_from_start_to_end(led: ledger.Ledger) -> None:
    with (
        led.run("write", task_key="report", tenant="acme", role="boss", labels={"a": "b"}) as run,
        run.spawn("researcher", task="find the sources") as agent,
    ):
        with agent.tool_call("search", {"q": "x"}) as call:
            assert call.result("found") == "found"
        with agent.model_call("gpt-5", tokens_estimate=100) as model:
            model.usage(input_tokens=10, output_tokens=5, cost_microdollars=7)
    judged(led)

    said = types(led.log)
    assert [t for t in said if not t.startswith("lease")] == [
        "run_started", "spawn_requested", "agent_started", "tool_call_started", "tool_call_ended",
        "model_call_started", "model_call_ended", "agent_ended", "run_ended",
    ]  # fmt: skip
    assert refusals(led.log) == []
    is_in_order(led.log)
    start = of_type(led.log, e.RunStarted)[0]
    assert (start.task_key, start.tenant, start.role, start.labels) == (
        "report", "acme", "boss", {"a": "b"},
    )  # fmt: skip
    assert {event.grade for event in heard(led.log)} == {"enforced"}


def test_every_act_names_the_lease_it_was_admitted_with(led: ledger.Ledger) -> None:
    """An act without a lease is counted as unadmitted, and would be outside invariant 5."""
    with led.run("r") as run:
        with run.spawn("a") as agent:
            for n in range(20):
                with agent.tool_call("t", n):
                    pass
        state = state_of(led, run.id)

        assert state.unadmitted == 0
        assert state.budget.spent(TOOL_CALLS) == 20


def test_what_is_left_of_a_lease_goes_back_when_its_agent_ends(led: ledger.Ledger) -> None:
    """Otherwise every agent would cost the run a whole lease."""
    with led.run("r") as run:
        for _ in range(5):
            with run.spawn("a") as agent, agent.tool_call("t"):
                pass
        state = state_of(led, run.id)

        assert [state.budget.reserved(unit) for unit in range(len(UNITS))] == [0, 0, 0, 0, 0]
        assert state.budget.spent(TOOL_CALLS) == 5


def test_a_refused_body_never_runs(tmp_path: Path) -> None:
    ran: list[int | str] = []
    pinned = limits(run_tool_calls_max=2, run_depth_max=0)
    with connected(tmp_path, pinned) as led, led.run("r") as run:
        for n in range(2):
            with run.tool_call("t"):
                ran.append(n)
        with pytest.raises(ledger.Denied) as tool, run.tool_call("t"):
            ran.append("a third call")
        with pytest.raises(ledger.Denied) as spawn, run.spawn("a"):
            ran.append("a child")

    assert ran == [0, 1]
    assert tool.value.decision.limit == "run.tool_calls_max"
    assert "run.tool_calls_max, 0 left" in str(tool.value)
    assert spawn.value.decision.limit == "run.depth_max"


def test_a_denial_is_a_sentence_for_the_model(tmp_path: Path) -> None:
    """Which limit, what is left, when it frees up, what to do instead."""
    pinned = limits(agent_open_children_max=1)
    with connected(tmp_path, pinned) as led, led.run("r") as run, run.spawn("a"):  # noqa: SIM117
        with pytest.raises(ledger.Denied) as denied, run.spawn("b"):
            pass

    assert str(denied.value) == (
        "lead has 1 children open; policy allows 1. Limit: agent.open_children_max, 0 left. "
        "Asking again may help in 1000 ms. Wait for a child to finish, or do the work yourself."
    )


def test_a_place_is_free_again_when_a_child_ends(tmp_path: Path) -> None:
    with connected(tmp_path, limits(agent_open_children_max=1)) as led, led.run("r") as run:
        for _ in range(3):
            with run.spawn("a"):
                pass


def test_an_exception_is_recorded_and_goes_on(led: ledger.Ledger) -> None:
    with pytest.raises(ValueError, match="no such page"), led.run("r") as run:  # noqa: SIM117
        with run.spawn("a") as agent, agent.tool_call("fetch"):
            raise ValueError("no such page")
    judged(led)

    assert of_type(led.log, e.ToolCallEnded)[0].error == "ValueError: no such page"
    assert of_type(led.log, e.AgentEnded)[0].outcome == "failed"
    assert of_type(led.log, e.RunEnded)[0].outcome == "failed"


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_an_interrupted_run_is_cancelled(led: ledger.Ledger, problem: BaseException) -> None:
    with pytest.raises(type(problem)), led.run("r"):
        raise problem
    judged(led)

    assert of_type(led.log, e.RunEnded)[0].outcome == "cancelled"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_that_cannot_be_shown_is_recorded_all_the_same(led: ledger.Ledger) -> None:
    with led.run("r") as run, pytest.raises(Unspeakable), run.tool_call("t"):
        raise Unspeakable
    judged(led)

    assert of_type(led.log, e.ToolCallEnded)[0].error == "Unspeakable: (no message)"


def test_too_long_a_text_is_cut_and_says_so(led: ledger.Ledger) -> None:
    with led.run("x" * 5_000, labels={"note": "y" * 600}):
        pass
    judged(led)

    start = of_type(led.log, e.RunStarted)[0]
    assert len(start.task) == 2048
    assert start.task.endswith(" […]")
    assert len(start.labels["note"]) == 512


@pytest.mark.parametrize(
    "value", ["", "x" * 129, 7, None, b"bytes", "half \ud800"], ids=lambda v: repr(v)[:12]
)
def test_a_wrong_id_is_refused_at_the_call(led: ledger.Ledger, value: Any) -> None:
    """An error that comes up later, in another thread, helps nobody."""
    with led.run("r") as run, pytest.raises(ledger.BadValue, match="tool is"):
        run.tool_call(value)


def test_wrong_values_are_refused_at_the_call(led: ledger.Ledger) -> None:
    """What fails later fails where nobody can mend it, and its event is missing."""
    with led.run("r", model_settings={"temperature": 0.2, "n": 1}) as run:
        wrong: list[Callable[[], object]] = [
            lambda: run.spawn("a", budget={"tokens": 5}),  # type: ignore[arg-type]
            lambda: run.spawn("a", constraints="c1"),
            lambda: run.handoff("a", mode="throw"),  # type: ignore[arg-type]
            lambda: run.handoff("a", deadline_ms=-1),
            lambda: run.plan("g", ["s"] * 257),
            lambda: run.plan(7),  # type: ignore[arg-type]
            lambda: run.outcome("yes"),  # type: ignore[arg-type]
            lambda: run.outcome(True, score_millionths=0.5),  # type: ignore[arg-type]
            lambda: run.model_call("m", tokens_estimate=-1),
            lambda: led.run("r", labels={"a": ["b"]}),  # type: ignore[dict-item]
            lambda: led.run("r", labels={str(n): "" for n in range(33)}),
            lambda: led.kill(""),
        ]
        for act in wrong:
            with pytest.raises(ledger.BadValue, match=r"it must|at most"):
                act()
    judged(led)

    settings = of_type(led.log, e.RunStarted)[0].model_settings
    assert settings == {"temperature": "0.2", "n": "1"}
    assert refusals(led.log) == []


def test_halves_of_surrogates_in_texts_do_not_lose_the_event(led: ledger.Ledger) -> None:
    """Models do write them, and UTF-8 cannot hold them."""
    with led.run("write \ud83d") as run, run.tool_call("t", {"q": "\udc00"}) as call:
        call.result("\ud800")
    judged(led)

    assert of_type(led.log, e.RunStarted)[0].task == "write ?"
    assert refusals(led.log) == []


def test_arguments_may_change_after_the_call(led: ledger.Ledger) -> None:
    """They are looked at later, by another thread; the record must say what they were."""
    with led.run("r") as run:
        flat: dict[str, Any] = {"q": "x"}
        deep: dict[str, Any] = {"q": ["x"]}
        for args in (flat, deep):
            with run.tool_call("t", args):
                args["q"] = "changed"
        for args in ({"q": "x"}, {"q": ["x"]}):
            with run.tool_call("t", args):
                pass
    judged(led)

    first, second, third, fourth = (c.args_fp for c in of_type(led.log, e.ToolCallStarted))
    assert (first, second) == (third, fourth)
    assert first != second


def test_odd_arguments_are_recorded(led: ledger.Ledger) -> None:
    """Agents hand over what they have."""
    itself: list[Any] = []
    itself.append(itself)
    odd = [object(), itself, {1: "a", "b": 2}, {"s": {1, 2}}, b"\xff", float("nan"), "x" * 10**6]
    with led.run("r") as run:
        for args in odd:
            with run.tool_call("t", args) as call:
                call.result(args)
    judged(led)

    assert len(of_type(led.log, e.ToolCallEnded)) == len(odd)
    assert all(call.args_fp for call in of_type(led.log, e.ToolCallStarted))
    assert refusals(led.log) == []


@pytest.mark.parametrize("size", [10, 8_192, 8_193, 200_000])
def test_payloads_are_kept_only_where_the_policy_says_so(tmp_path: Path, size: int) -> None:
    with connected(tmp_path, limits(client_capture="payloads")) as led:
        with led.run("r") as run, run.tool_call("t", "a" * size) as call:
            call.result("b" * size)
        judged(led)

        start, end = of_type(led.log, e.ToolCallStarted)[0], of_type(led.log, e.ToolCallEnded)[0]
        kept = size <= 8_192
        assert (start.args, start.args_cut) == (("a" * size, False) if kept else (None, True))
        assert (end.result, end.result_cut) == (("b" * size, False) if kept else (None, True))
        assert start.args_bytes == end.result_bytes == size


def test_nothing_of_a_payload_is_kept_by_default(led: ledger.Ledger) -> None:
    secret = "the password is swordfish"
    with led.run("r") as run:
        with run.tool_call("t", {"secret": secret}) as call:
            call.result(secret)
        with run.model_call("m", prompt=secret) as model:
            model.result(secret)
        run.output(secret)
    judged(led)

    assert not any(secret.encode() in row.value for row in led.log.read(0, 1_000))


def test_plans_handoffs_outputs_and_constraints_are_recorded(led: ledger.Ledger) -> None:
    with led.run("r") as run:
        plan = run.plan("the report", ["find", "write"])
        rule = run.constraint("cite every source")
        with run.spawn("writer", agent="writer", constraints=[rule]) as writer:
            with plan.step(2), writer.tool_call("write"):
                pass
            with run.handoff("writer", goal="write it", constraints=[rule]) as work:
                work.result("done")
            refused = run.handoff("writer", goal="do it again")
            refused.refuse("it is done")
            output = writer.output("text", kind="report")
            run.verify(output, True, note="fine")
        plan.revise(["rest"], reason="all is done")
        run.outcome(True, by="a person")
    judged(led)

    assert refusals(led.log) == []
    assert of_type(led.log, e.ToolCallStarted)[0].step == "s2"
    assert [type(event).__name__ for event in heard(led.log) if "handoff" in event.type] == [
        "HandoffOffered", "HandoffAccepted", "HandoffReturned", "HandoffOffered", "HandoffRefused",
    ]  # fmt: skip


def test_a_handoff_whose_body_fails_is_refused(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.spawn("b", agent="b"):  # noqa: SIM117
        with pytest.raises(ValueError, match="no"), run.handoff("b", goal="g"):
            raise ValueError("no")
    judged(led)

    assert of_type(led.log, e.HandoffRefused)[0].reason == "ValueError: no"


def test_a_plan_knows_its_steps(led: ledger.Ledger) -> None:
    with led.run("r") as run, pytest.raises(ledger.BadValue, match=r"\['s1'\]"):  # noqa: SIM117
        with run.plan("g", ["one"]).step("s9"):
            pass


def test_functions_become_agents_and_calls(led: ledger.Ledger) -> None:
    @ledger.tool("search")
    def search(q: str, n: int = 3) -> list[str]:
        return [q] * n

    @ledger.agent("researcher", task="find {topic}")
    def research(topic: str) -> list[str]:
        return search(topic)

    @ledger.model("gpt-5", usage=lambda text: {"output_tokens": len(text), "cost_microdollars": 1})
    def write(prompt: str) -> str:
        return prompt.upper()

    with led.run("r"):
        assert research("bees") == ["bees"] * 3
        assert write("abc") == "ABC"
    judged(led)

    assert of_type(led.log, e.AgentStarted)[0].task == "find bees"
    assert of_type(led.log, e.ModelCallEnded)[0].output_tokens == 3
    assert refusals(led.log) == []


def test_async_functions_become_agents_and_calls(led: ledger.Ledger) -> None:
    @ledger.tool()
    async def fetch(page: int) -> int:
        return await asyncio.to_thread(lambda: page)

    @ledger.agent("reader")
    async def read(pages: int) -> list[int]:
        return list(await asyncio.gather(*(fetch(page) for page in range(pages))))

    async def main() -> None:
        async with led.run("r"):
            found = await asyncio.gather(*(read(3) for _ in range(4)))
            assert found == [[0, 1, 2]] * 4

    asyncio.run(main())
    judged(led)

    assert len(of_type(led.log, e.AgentStarted)) == 4
    assert {c.agent for c in of_type(led.log, e.ToolCallStarted)} == {
        f"reader-{n}" for n in range(1, 5)
    }
    assert refusals(led.log) == []


def test_outside_of_every_run_there_is_nobody_to_act(led: ledger.Ledger) -> None:
    for act in (lambda: ledger.spawn("a"), lambda: ledger.tool_call("t"), ledger.identity):
        with pytest.raises(ledger.NoAgent, match="open a run"):
            act()


def test_a_run_that_the_judge_refuses_says_why_at_the_next_act(led: ledger.Ledger) -> None:
    """The name is taken; what follows must not be told that the run does not exist."""
    with led.run("r", run="mine"):
        pass
    with led.run("r", run="mine") as run, pytest.raises(ledger.Denied) as denied:  # noqa: SIM117
        with run.tool_call("t"):
            pass

    assert "run mine has started already" in str(denied.value) or "ended" in str(denied.value)
