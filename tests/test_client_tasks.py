"""A kill cancels tasks that wait elsewhere; its cancellation ends where the killed agent does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledger
from ledger.core import events as e
from tests.clients import connected, judged, of_type
from tests.waiting import wait_for


@pytest.fixture
def led(tmp_path: Path) -> Iterator[ledger.Ledger]:
    with connected(tmp_path) as opened:
        yield opened


def test_a_paused_task_leaves_the_loop_to_others(led: ledger.Ledger) -> None:
    """One agent is paused; another, of the same loop, goes on."""

    async def main() -> list[str]:
        seen: list[str] = []
        async with led.run("r") as run, run.spawn("a", agent="a") as a:
            led.pause(run.id, "a")

            async def paused() -> None:
                a.output("said, not done")
                async with a.tool_call("t"):
                    seen.append("a")

            task = asyncio.create_task(paused())
            async with asyncio.timeout(10), run.tool_call("t"):
                seen.append("lead")
            led.resume(run.id, "a")
            await task
        return seen

    assert asyncio.run(main()) == ["lead", "a"]


def test_a_task_that_waits_elsewhere_is_cancelled(led: ledger.Ledger) -> None:
    """A model's answer may take minutes; a kill does not wait for it."""

    async def main() -> None:
        async with led.run("r") as run:
            forever = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(lambda: led.kill(run.id, reason="enough"))
            await forever

    with pytest.raises(ledger.Killed, match="enough"):
        asyncio.run(asyncio.wait_for(main(), 20))


def test_a_task_in_a_call_is_cancelled_though_it_entered_no_agent(led: ledger.Ledger) -> None:
    async def main() -> str:
        async with led.run("r") as run, run.spawn("a", agent="a") as agent:

            async def work() -> None:
                async with agent.tool_call("t"):
                    await asyncio.get_running_loop().create_future()

            task = asyncio.create_task(work())
            await asyncio.to_thread(wait_for, lambda: agent._local.calls)
            led.kill(run.id, "a")
            await asyncio.wait([task], timeout=120)
            return "cancelled" if task.cancelled() else "not cancelled"

    with pytest.raises(ledger.Killed):
        asyncio.run(main())


def test_a_kill_comes_out_of_a_task_group(led: ledger.Ledger) -> None:
    seen: list[str] = []

    async def child(run: ledger.Run, name: str) -> None:
        async with run.spawn("child", agent=name):
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with led.run("r") as run:
            try:
                async with asyncio.TaskGroup() as group:
                    for n in range(3):
                        group.create_task(child(run, f"c{n}"))
                    await asyncio.to_thread(wait_for, lambda: len(run._local.run.agents) == 4)
                    await asyncio.to_thread(judged, led)
                    for n in range(3):
                        led.kill(run.id, f"c{n}")
            except* ledger.Killed as killed:
                seen.extend(one.agent for one in killed.exceptions)  # type: ignore[union-attr]
            run.check()  # The lead was not killed, and goes on.
            async with run.tool_call("t"):
                seen.append("went on")

    asyncio.run(asyncio.wait_for(main(), 20))

    # The first that comes out makes the group cancel the others, who may be quicker.
    assert set(seen[:-1]) <= {"c0", "c1", "c2"}
    assert seen[0] != "went on"
    assert seen[-1] == "went on"


def test_a_kill_of_a_child_in_one_task_leaves_its_parent_uncancelled(led: ledger.Ledger) -> None:
    """The parent may go on awaiting; the cancellation ends at the child's edge."""

    async def child(run: ledger.Run) -> None:
        async with run.spawn("a", agent="a"):
            led.kill(run.id, "a")
            await asyncio.get_running_loop().create_future()

    async def main() -> int:
        async with led.run("r") as run:
            with pytest.raises(ledger.Killed):
                await child(run)
            async with asyncio.timeout(5):
                await asyncio.to_thread(lambda: None)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

    assert asyncio.run(main()) == 0


def test_a_cancellation_by_others_stays_one(led: ledger.Ledger) -> None:
    async def main() -> None:
        async with led.run("r"):
            await asyncio.get_running_loop().create_future()

    async def outer() -> None:
        task = asyncio.create_task(main())
        await asyncio.to_thread(wait_for, lambda: of_type(led.log, e.RunStarted))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(outer())
    judged(led)

    assert of_type(led.log, e.RunEnded)[0].outcome == "cancelled"
