"""Orders reach agents wherever they are: in a call, in a task, in a pause, in a wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ledger
from ledger.client.verdicts import Asked
from ledger.client.waiter import Waiter
from ledger.core import events as e
from ledger.core import policy
from ledger.core.state import ENDED
from ledger.core.verdicts import Grant, Verdict
from tests.clients import connected, judged, limits, of_type, refusals, state_of, told
from tests.waiting import wait_for


@pytest.fixture
def led(tmp_path: Path) -> Iterator[ledger.Ledger]:
    with connected(tmp_path) as opened:
        yield opened


def test_a_killed_agent_stops_at_its_next_call(led: ledger.Ledger) -> None:
    def work() -> None:
        with led.run("r", run="mine") as run:
            led.kill(run.id, reason="enough")
            with run.tool_call("t"):
                raise AssertionError("it ran")

    with pytest.raises(ledger.Killed) as killed:
        work()

    assert (killed.value.run, killed.value.agent) == ("mine", "lead")
    assert "enough" in str(killed.value)


@pytest.mark.parametrize("act", ["tool", "model", "spawn", "plan", "output", "record", "admit"])
def test_every_kind_of_call_sees_the_kill(led: ledger.Ledger, act: str) -> None:
    with led.run("r") as run:
        led.kill(run.id)
        acts: dict[str, Callable[[], object]] = {
            "tool": lambda: run.tool_call("t").__enter__(),
            "model": lambda: run.model_call("m").__enter__(),
            "spawn": lambda: run.spawn("a").__enter__(),
            "plan": lambda: run.plan("g"),
            "output": lambda: run.output("x"),
            "record": lambda: led.record(e.PlanProposed(run=run.id, agent="lead", plan="p")),
            "admit": lambda: led.admit(
                e.ToolCallRequested(run=run.id, agent="lead", call="c", tool="t")
            ),
        }
        with pytest.raises(ledger.Killed):
            acts[act]()


def test_no_except_exception_swallows_a_kill(led: ledger.Ledger) -> None:
    """That is how agents retry everything."""
    tries: list[int] = []

    def work() -> None:
        with led.run("r") as run:
            led.kill(run.id)
            while len(tries) < 3:
                tries.append(1)
                with contextlib.suppress(Exception), run.tool_call("t"):
                    pass

    with pytest.raises(ledger.Killed):
        work()

    assert tries == [1]


def test_leaving_stays_silent_after_a_kill(led: ledger.Ledger) -> None:
    """Work that is done is recorded; what the body raised is what goes on."""
    with led.run("r") as run, run.spawn("a") as agent, agent.tool_call("t") as call:
        led.kill(run.id)
        call.result("done")
    with pytest.raises(ValueError, match="mine"), led.run("r", run="second"):
        raise ValueError(f"mine {led.kill('second').action}")
    judged(led)

    assert len(of_type(led.log, e.ToolCallEnded)) == 1
    assert {end.outcome for end in of_type(led.log, e.RunEnded)} == {"succeeded", "killed"}


def test_a_subtree_is_killed_and_nobody_else(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.spawn("a", agent="a") as a, a.spawn("b", agent="b") as b:
        led.kill(run.id, "a", subtree=True)
        for agent in (a, b):
            with pytest.raises(ledger.Killed):
                agent.check()
        run.check()
        with run.tool_call("t"):
            pass


def test_one_agent_is_killed_and_its_child_goes_on(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.spawn("a", agent="a") as a, a.spawn("b", agent="b") as b:
        led.kill(run.id, "a")
        with pytest.raises(ledger.Killed):
            a.check()
        b.check()


def test_an_id_is_killed_before_it_is_announced(led: ledger.Ledger) -> None:
    """PROTOCOLS 4: ids are latched whether known or not."""
    with led.run("r") as run:
        led.kill(run.id, "a")
        with pytest.raises(ledger.Killed), run.spawn("a", agent="a"):
            raise AssertionError("it ran")


def test_a_run_that_was_killed_before_it_began_does_not_begin(led: ledger.Ledger) -> None:
    led.kill("doomed", reason="known to be bad")
    with pytest.raises(ledger.Killed, match="known to be bad"), led.run("r", run="doomed"):
        raise AssertionError("it ran")


def test_the_receipt_of_a_rules_order_counts_from_the_order(tmp_path: Path) -> None:
    """What was used before somebody was killed is no cost of the kill."""
    rule = policy.RepeatedStep(warning="kill_run", warn_repeats=2)
    pinned = policy.Policy(findings=policy.Findings(repeated_step=rule))

    def work(led: ledger.Ledger) -> None:
        with led.run("r") as run:
            with run.model_call("m") as model:
                model.usage(input_tokens=700, cost_microdollars=50)
            judged(led)
            made_ms = time.time_ns() // 1_000_000
            wait_for(lambda: time.time_ns() // 1_000_000 > made_ms, what="the clock to move")
            for _ in range(100):
                with run.tool_call("look", {"at": 1}) as look:
                    look.result("nothing")
                judged(led)

    with connected(tmp_path, pinned) as led:
        with pytest.raises(ledger.Killed):
            work(led)
        judged(led)
        (receipt,) = of_type(led.log, e.OrderReceipted)
        given = [e.OrderGiven.model_validate_json(row.value) for row in led.log.control(0, 10)]

    assert given[0].at_ms > 0
    assert (receipt.tokens_since, receipt.microdollars_since) == (0, 0)


def test_a_kill_gives_its_receipt(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.spawn("a") as agent, agent.tool_call("t"):
        receipt = led.kill(run.id, reason="enough", by="a person", wait_s=10)

        assert receipt.quiet
        assert (receipt.agents_stopped, receipt.calls_in_flight) == (2, 1)
        assert receipt.may_act == ()
    judged(led)

    assert refusals(led.log) == []


def test_an_order_that_nobody_answers_says_who_may_still_act(tmp_path: Path) -> None:
    """The other process is frozen: what it holds ends with its lease, and the person may know."""
    with connected(tmp_path, limits(lease_ttl_ms=60_000)) as led, led.run("r") as run:
        with run.tool_call("t"):
            pass
        other = ledger.connect(tmp_path / "ledger.db", judge="none")
        # Its listener is not started, so nobody answers for it.
        other.log.append(
            [(run.id, b'{"type":"lease_requested","run":"%s","agent":"lead","source":"frozen",'
              b'"seq":1,"wants":{"tool_calls":3}}' % run.id.encode())]
        )  # fmt: skip
        judged(led)
        receipt = led.kill(run.id, wait_s=0.3)
        other.close()

        assert not receipt.quiet
        assert [holder for holder, _ in receipt.may_act] == ["frozen"]
        assert 0 < receipt.may_act[0][1] <= 60_000


def test_a_pause_holds_and_a_resume_lets_go(led: ledger.Ledger) -> None:
    went_on = threading.Event()
    with led.run("r") as run:

        def work() -> None:
            with run.tool_call("t"):
                went_on.set()

        led.pause(run.id, reason="look at this")
        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda: run._local.waiters, what="the agent to wait")

        assert not went_on.is_set()
        led.resume(run.id)
        thread.join(10)
        assert went_on.is_set()


def test_a_kill_ends_a_pause(led: ledger.Ledger) -> None:
    seen: list[BaseException] = []
    with led.run("r") as run:

        def work() -> None:
            try:
                run.check()
            except ledger.Killed as killed:
                seen.append(killed)

        led.pause(run.id)
        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda: run._local.waiters, what="the agent to wait")
        led.kill(run.id)
        thread.join(10)

        assert len(seen) == 1


def test_a_pause_ends_in_a_denial_when_it_lasts_too_long(tmp_path: Path) -> None:
    with connected(tmp_path, limits(client_pause_max_ms=50)) as led, led.run("r") as run:
        led.pause(run.id)
        with pytest.raises(ledger.Denied, match="was paused for 50 ms") as denied:
            run.check()

        assert denied.value.decision.limit == "client.pause_max_ms"


def test_a_drained_agent_finishes_and_starts_nobody(led: ledger.Ledger) -> None:
    with led.run("r") as run:
        led.drain(run.id)
        with run.tool_call("t"):
            pass
        with pytest.raises(ledger.Denied, match="draining"), run.spawn("a"):
            pass


def test_who_waits_for_an_answer_is_stopped_too(tmp_path: Path) -> None:
    """Nobody judges; the kill must not wait for the judge's answer."""
    with connected(tmp_path, judge="none") as led, led.run("r") as run:
        seen: list[BaseException] = []

        def work() -> None:
            try:
                with run.spawn("a"):
                    pass
            except BaseException as problem:
                seen.append(problem)

        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda: run._local.waiters, what="the agent to wait")
        led.kill(run.id)
        thread.join(3)

        assert [type(problem) for problem in seen] == [ledger.Killed]


def test_an_order_by_a_rule_stops_the_agent(tmp_path: Path) -> None:
    """An agent that asks again and again is not listening: the run is killed by the policy."""
    pinned = limits(agent_open_children_max=0, run_spawns_refused_max=3)
    with connected(tmp_path, pinned) as led:

        def work() -> None:
            with led.run("r") as run:
                for _ in range(100):
                    with pytest.raises(ledger.Denied), run.spawn("a"):
                        pass

        with pytest.raises(ledger.Killed, match="runaway_fan_out"):
            work()
        judged(led)

        assert any(verdict.orders for verdict in told(led.log))
        assert of_type(led.log, e.OrderReceipted)


def test_a_call_that_a_finding_refuses_is_refused_by_name(led: ledger.Ledger) -> None:
    """A lease knows of no arguments; the finding's list makes the client ask."""
    with led.run("r") as run:
        denied = []
        for _ in range(12):
            try:
                with run.tool_call("search", {"q": "x"}) as call:
                    call.result("nothing")
            except ledger.Denied as refusal:
                denied.append(str(refusal))
            judged(led)
            wait_for(lambda: led._engine.verdicts._pos == led.log.verdicts_end())
        with run.tool_call("search", {"q": "y"}):
            pass

        assert len(denied) == 7
        assert all("repeats search" in sentence for sentence in denied)


def test_a_killed_run_is_over_for_the_judge(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.spawn("a") as agent:
        led.kill(run.id, wait_s=10)
        with pytest.raises(ledger.Killed):
            agent.check()
    state = state_of(led, run.id)

    assert state.status == ENDED
    assert state.live == 0 or all(a.status == ENDED for a in state.agents.values())


def test_threads_that_join_a_run_at_once_are_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order reaches both."""
    with connected(tmp_path) as led, led.run("r") as run, connected(tmp_path) as other:
        follow, both = other.log.follow, threading.Barrier(2)

        def together(id: str) -> None:
            follow(id)
            both.wait(60)

        monkeypatch.setattr(other.log, "follow", together)
        joined: list[ledger.Agent] = []
        threads = [
            threading.Thread(target=lambda: joined.append(other.join(run.identity))) for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        led.kill(run.id)

        for agent in joined:
            with pytest.raises(ledger.Killed):
                agent.check()


def test_a_lease_for_a_request_that_was_killed_goes_back(tmp_path: Path) -> None:
    """The kill is heard first, the answer right behind it, and nobody is left to take it."""
    with connected(tmp_path, judge="none") as led, led.run("r") as run:
        verdicts, back = led._engine.verdicts, list[Verdict]()
        verdicts._on_unclaimed = back.append
        waiter = Waiter()
        Asked(verdicts, run.id, waiter.settle)(7, "")
        assert waiter.settle(ledger.Killed(run.id, "lead"))
        lease = Grant("l", "lead", led.source, (0, 1, 0, 0, 0), 1_000)
        late = Verdict(9, run.id, source=led.source, seq=7, lease=lease)
        verdicts._hear(late)

        assert back == [late]
