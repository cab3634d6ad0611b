"""Leases: spent once, by many threads at once, never past their end, and given back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger
from ledger.core import events as e
from ledger.core.verdicts import MODEL_CALLS, TOKENS, TOOL_CALLS, UNITS
from tests.clients import (
    adds_up,
    connected,
    is_in_order,
    judged,
    limits,
    of_type,
    refusals,
    state_of,
)
from tests.waiting import wait_for


@pytest.fixture
def led(tmp_path: Path) -> Iterator[ledger.Ledger]:
    with connected(tmp_path) as opened:
        yield opened


def at_once(work: list[threading.Thread]) -> None:
    """Start all, and wait for all."""
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(60)
        assert not thread.is_alive()


def test_eight_threads_spend_one_limit_exactly(tmp_path: Path) -> None:
    """Invariant 5: however many race, the limit is never exceeded; nor does a unit get lost."""
    with connected(tmp_path, limits(run_tool_calls_max=100)) as led, led.run("r") as run:
        done: list[int] = []
        refused: list[int] = []

        def work() -> None:
            for n in range(25):
                try:
                    with run.tool_call("t", n):
                        done.append(n)
                except ledger.Denied:
                    refused.append(n)

        at_once([threading.Thread(target=work) for _ in range(8)])
        state = state_of(led, run.id)

        assert len(done) == 100
        assert len(refused) == 100
        assert state.budget.spent(TOOL_CALLS) == 100
        assert state.unadmitted == 0
        adds_up(state)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    allowed=st.integers(1, 40),
    agents=st.integers(1, 4),
    threads=st.integers(1, 4),
    lease=st.integers(0, 16),
)
def test_no_mix_of_agents_and_threads_gets_past_the_limit(
    tmp_path_factory: pytest.TempPathFactory, allowed: int, agents: int, threads: int, lease: int
) -> None:
    """Leases are given and taken back all the time, in every size, none at all included."""
    pinned = limits(run_tool_calls_max=allowed, lease_tool_calls=lease)
    folder = tmp_path_factory.mktemp("race")
    with connected(folder, pinned) as led, led.run("r") as run:
        done: list[int] = []

        def work() -> None:
            try:
                with run.spawn("a") as agent:
                    for n in range(12):
                        with agent.tool_call("t", n):
                            done.append(n)
            except ledger.Denied:
                return

        at_once([threading.Thread(target=ledger.propagate(work)) for _ in range(agents * threads)])
        state = state_of(led, run.id)

        assert len(done) <= allowed
        assert len(done) == min(allowed, agents * threads * 12) or lease
        assert state.unadmitted == 0
        adds_up(state)
        is_in_order(led.log)
        assert refusals(led.log) == []


def test_tasks_share_a_lease(led: ledger.Ledger) -> None:
    async def main() -> None:
        async with led.run("r") as run:

            async def work(n: int) -> None:
                async with run.tool_call("t", n):
                    await asyncio.to_thread(lambda: None)

            await asyncio.gather(*(work(n) for n in range(50)))
            state = await asyncio.to_thread(state_of, led, run.id)
            assert state.budget.spent(TOOL_CALLS) == 50
            assert state.unadmitted == 0

    asyncio.run(main())


def test_a_first_lease_is_asked_for_once_by_all_who_need_it(led: ledger.Ledger) -> None:
    """Otherwise eight threads of one agent would hold eight leases."""
    gate = threading.Barrier(8)
    with led.run("r") as run:

        def work() -> None:
            gate.wait(120)
            with run.tool_call("t"):
                pass

        at_once([threading.Thread(target=work) for _ in range(8)])
    judged(led)

    assert len(of_type(led.log, e.LeaseRequested)) <= 2


def test_a_lease_is_renewed_before_it_is_used_up(tmp_path: Path) -> None:
    """Who renews in time never waits; leases grow with use."""
    with connected(tmp_path) as led, led.run("r") as run:
        for n in range(150):
            with run.tool_call("t", n):
                pass
            if not n % 10:
                judged(led)
                wait_for(lambda: run._local.renewing is None, what="the renewal")
        wants = [event.wants.tool_calls for event in of_type(led.log, e.LeaseRequested)]
        state = state_of(led, run.id)

        assert wants[0] == 16
        assert max(wants) == 64
        assert len(wants) < 15
        assert state.unadmitted == 0


def test_a_lease_that_ran_out_is_not_used(tmp_path: Path) -> None:
    """The judge has counted what was left as spent, and may give it to others."""
    with connected(tmp_path, limits(lease_ttl_ms=100)) as led, led.run("r") as run:
        with run.tool_call("t"):
            pass
        first = of_type_now(led)
        lease = run._local.lease
        if lease is not None:
            wait_for(lambda: ledger_clock() > lease.ends_ns, what="the lease to run out")
        with run.tool_call("t"):
            pass
        judged(led)
        calls = of_type(led.log, e.ToolCallStarted)

        assert first != calls[1].lease
        assert state_of(led, run.id).unadmitted == 0


def of_type_now(led: ledger.Ledger) -> str:
    """The lease that the first call names."""
    judged(led)
    return of_type(led.log, e.ToolCallStarted)[0].lease


def ledger_clock() -> int:
    """The clock that leases are counted on."""
    from ledger.client.leases import boottime_ns

    return boottime_ns()


def test_an_idle_lease_goes_back(tmp_path: Path) -> None:
    """Others may be short, and this agent may wait for its model for minutes."""
    with connected(tmp_path) as led, led.run("r") as run:
        with run.tool_call("t"):
            pass
        wait_for(lambda: of_type(led.log, e.LeaseReturned), what="the lease to come back")
        state = state_of(led, run.id)

        assert [state.budget.reserved(unit) for unit in range(len(UNITS))] == [0] * len(UNITS)
        assert state.budget.spent(TOOL_CALLS) == 1


def test_what_is_lent_to_others_comes_back_when_somebody_is_short(tmp_path: Path) -> None:
    """One agent holds all that is left and does nothing; another asks: it must get it."""
    with connected(tmp_path, limits(run_tool_calls_max=9)) as led, led.run("r") as run:
        with run.spawn("a") as a, run.spawn("b") as b:
            done = 0
            for agent in (a, b, a, b, a, b, a, b, a):
                with agent.tool_call("t"):
                    done += 1
            with pytest.raises(ledger.Denied), b.tool_call("t"):
                pass

        assert done == 9


def test_a_model_call_settles_what_it_used(led: ledger.Ledger) -> None:
    with led.run("r") as run:
        with run.model_call("m", tokens_estimate=1_000, microdollars_estimate=50) as call:
            call.usage(input_tokens=2_000, output_tokens=500, cost_microdollars=80)
        with run.model_call("m", tokens_estimate=1_000) as call:
            call.usage(output_tokens=10, cost_microdollars=1)
        lease = run._local.lease
        assert lease is not None
        left = list(lease.left)
        state = state_of(led, run.id)

        assert state.budget.spent(TOKENS) == 2_510
        assert list(state.leases[lease.id].left) == left
        assert state.unadmitted == 0


def test_a_large_estimate_is_asked_for_by_name(tmp_path: Path) -> None:
    """No lease covers it; what was set aside for it goes back when it is over."""
    with connected(tmp_path, limits(lease_tokens=1_000)) as led, led.run("r") as run:
        with run.model_call("m", tokens_estimate=50_000) as call:
            assert state_of(led, run.id).budget.reserved(TOKENS) == 50_000
            call.usage(input_tokens=10, cost_microdollars=1)
        state = state_of(led, run.id)

        assert state.budget.reserved(TOKENS) == 0
        assert state.budget.spent(TOKENS) == 10
        assert state.unadmitted == 0
        assert refusals(led.log) == []


def test_tokens_run_out(tmp_path: Path) -> None:
    """Invariant 5: no more is spent than calls in flight had under-estimated."""
    with connected(tmp_path, limits(run_tokens_max=1_000)) as led, led.run("r") as run:
        used = 0
        with pytest.raises(ledger.Denied) as denied:  # noqa: PT012 - it ends when it is refused.
            while True:
                with run.model_call("m", tokens_estimate=100) as call:
                    call.usage(input_tokens=100, cost_microdollars=0)
                    used += 100
        assert used == 1_000
        assert denied.value.decision.limit == "run.tokens_max"


def test_a_lease_in_flight_when_its_agent_ends_is_not_forfeited(tmp_path: Path) -> None:
    """The agent leaves while more is on its way: the run must not pay for it."""
    with connected(tmp_path, limits(run_tool_calls_max=10_000)) as led, led.run("r") as run:
        for _ in range(20):
            with run.spawn("a") as agent:
                for n in range(7):  # The seventh asks for more, and nobody waits for it.
                    with agent.tool_call("t", n):
                        pass
        state = state_of(led, run.id)

        assert state.budget.spent(TOOL_CALLS) == 140
        assert state.budget.reserved(TOOL_CALLS) == 0


def test_a_request_that_is_repeated_spends_once(led: ledger.Ledger) -> None:
    """Frameworks retry their hooks: the same act is asked for twice, and done once."""
    with led.run("r") as run:
        request = e.ToolCallRequested(run=run.id, agent="lead", call="c1", tool="t")
        first, second = led.admit(request), led.admit(request)
        assert first == second
        led.record(
            e.ToolCallStarted(run=run.id, agent="lead", call="c1", tool="t", lease=first.lease)
        )
        led.record(e.ToolCallEnded(run=run.id, agent="lead", call="c1"))
    state = state_of(led, run.id)

    assert state.budget.spent(TOOL_CALLS) == 1
    assert state.budget.reserved(TOOL_CALLS) == 0
    assert state.unadmitted == 0


def test_a_call_that_was_admitted_before_is_not_asked_for_again(led: ledger.Ledger) -> None:
    with led.run("r") as run:
        led.admit(e.ToolCallRequested(run=run.id, agent="lead", call="c1", tool="t"))
        led.admit(
            e.ModelCallRequested(run=run.id, agent="lead", call="c2", model="m", tokens_estimate=9)
        )
        with run.tool_call("t", call="c1"), pytest.raises(ledger.BadValue, match="runs already"):
            run.tool_call("t", call="c1").__enter__()
        with run.model_call("m", call="c2") as call:
            call.usage(output_tokens=4, cost_microdollars=0)
        state = state_of(led, run.id)
        lease = run._local.lease

        assert lease is not None
        assert (state.budget.spent(TOOL_CALLS), state.budget.spent(MODEL_CALLS)) == (1, 1)
        assert list(state.leases[lease.id].left) == lease.left


def test_an_adapter_that_records_by_hand_returns_its_leases(led: ledger.Ledger) -> None:
    """Low-level events are all that an adapter may have; nothing is forfeited for that."""
    run = "by-hand"
    led.record(e.RunStarted(run=run, agent="lead"))
    spawn = led.admit(e.SpawnRequested(run=run, agent="lead", child="a"))
    led.record(e.AgentStarted(run=run, agent="a", parent="lead", lease=spawn.lease))
    for n in range(3):
        call = led.admit(e.ToolCallRequested(run=run, agent="a", call=f"c{n}", tool="t"))
        led.record(e.ToolCallStarted(run=run, agent="a", call=f"c{n}", tool="t", lease=call.lease))
        led.record(e.ToolCallEnded(run=run, agent="a", call=f"c{n}"))
    led.record(e.AgentEnded(run=run, agent="a"))
    state = state_of(led, run)

    assert (state.budget.spent(TOOL_CALLS), state.budget.reserved(TOOL_CALLS)) == (3, 0)
    assert state.unadmitted == 0
    assert refusals(led.log) == []
    led.kill(run, "lead")
    with pytest.raises(ledger.Killed):
        led.admit(e.ToolCallRequested(run=run, agent="lead", call="z", tool="t"))
    led.record(e.RunEnded(run=run, agent="lead", outcome="killed"))


def test_admit_does_not_block_the_loop(led: ledger.Ledger) -> None:
    async def main() -> None:
        async with led.run("r") as run:
            requests = [e.SpawnRequested(run=run.id, agent="lead", child=f"a{n}") for n in range(5)]
            answers = await asyncio.gather(*(led.aadmit(request) for request in requests))
            assert [answer.allowed for answer in answers] == [True] * 5

    asyncio.run(main())


def test_spawns_may_be_leased_too(tmp_path: Path) -> None:
    """Where the policy says so, children start without a round trip."""
    with connected(tmp_path, limits(lease_spawns=4, agent_children_max=6)) as led:
        with led.run("r") as run:
            for _ in range(6):
                with run.spawn("a"):
                    pass
            with pytest.raises(ledger.Denied) as denied, run.spawn("a"):
                pass
            state = state_of(led, run.id)

        assert denied.value.decision.limit == "agent.children_max"
        assert len(state.agents) == 7
        assert state.unadmitted == 0
