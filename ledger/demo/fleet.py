"""One process of the demo's fleet: agents that start agents, in this process and in new ones.

Scripted after anthropics/claude-code #69332 (2 calls became 242 agents in five minutes), as the
scenario `fan_out_242` of `ledger simulate` is, SPEED times as fast. Nobody's model is called and
nobody's money is spent; the processes, the client, the refusals and the kill are real.

    python -m ledger.demo.fleet        # started by `stage`, and by itself
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from random import Random

import ledger
from ledger.client.agent import Agent
from ledger.demo import KILLED_CODE
from ledger.simulate.acts import CallModel

WAVES = (2, 17, 16, 188, 19)
"""Agents started in each minute."""
SPEED = 40
"""How much faster than the script everything goes."""
MINUTE_S = 60.0
TURNS_AFTER = 6
INSISTS = 2
"""How often a refused agent asks again, as a model that does not listen."""

RUN, PLACE, BEGAN, ALIVE = (f"LEDGER_DEMO_{name}" for name in ("RUN", "PLACE", "BEGAN", "ALIVE"))
"""Variables: the run's id, `wave/rank` of a child's agent, when the fleet began (seconds of the
monotonic clock), and a pipe that every process of the fleet holds open."""


class Fleet:
    """What the agents of this process share."""

    def __init__(self) -> None:
        self.began_s = float(os.environ[BEGAN])
        self.random = Random(os.environ.get(PLACE, "lead"))

    def now_s(self) -> float:
        """Scripted seconds since the fleet began."""
        return (time.monotonic() - self.began_s) * SPEED

    async def until(self, scripted_s: float) -> None:
        """Sleep until that time of the script."""
        await asyncio.sleep(max(0.0, scripted_s - self.now_s()) / SPEED)

    async def sleep(self, scripted_s: float) -> None:
        """Sleep around so long, in the script's seconds."""
        await asyncio.sleep(scripted_s * self.random.uniform(0.5, 1.5) / SPEED)

    async def lead(self, led: ledger.Ledger) -> None:
        """The run's lead: one turn, then the first wave."""
        async with led.run(
            "Rename a helper in two packages.", role="lead", run=os.environ[RUN],
            labels={"scripted": "true", "after": "anthropics/claude-code #69332"},
        ) as run:  # fmt: skip
            await self.turns(run, 1, cache_read=0)
            await self.wave(run, wave=0, rank=0, parents=1)

    async def helper(self, agent: Agent, wave: int, rank: int) -> None:
        """A helper: a turn, its share of the next wave, and more turns."""
        await self.turns(agent, 1, cache_read=20_000)
        if wave + 1 < len(WAVES):
            await self.wave(agent, wave=wave + 1, rank=rank, parents=WAVES[wave])
        await self.turns(agent, TURNS_AFTER, cache_read=30_000)

    async def turns(self, agent: Agent, count: int, *, cache_read: int) -> None:
        """A model call and a tool call that nobody made before, `count` times, unless refused."""
        called = CallModel(cache_read=cache_read)
        for turn in range(count):
            try:
                async with agent.model_call(
                    called.model, tokens_estimate=called.tokens,
                    microdollars_estimate=called.microdollars,
                ) as call:  # fmt: skip
                    await self.sleep(5)
                    call.usage(
                        input_tokens=called.input, output_tokens=called.output,
                        cache_read_tokens=called.cache_read,
                        cost_microdollars=called.microdollars,
                    )  # fmt: skip
                about = f"{agent.agent} {turn} {cache_read}"
                async with agent.tool_call("search", {"q": about}) as looked:
                    await self.sleep(1)
                    looked.result(about)
            except ledger.Denied:
                return

    async def wave(self, agent: Agent, *, wave: int, rank: int, parents: int) -> None:
        """This parent's share of a wave, spread over its minute; ends with the last child."""
        shares = [WAVES[wave] // parents + (n < WAVES[wave] % parents) for n in range(parents)]
        before = sum(shares[:rank])
        offsets = sorted(self.random.uniform(1, 51) for _ in range(shares[rank]))
        async with asyncio.TaskGroup() as children:
            for number, offset_s in enumerate(offsets):
                await self.until(wave * MINUTE_S + offset_s)
                own = wave == 0 or (wave == 1 and number == 0)
                children.create_task(self.start(agent, wave, before + number, own_process=own))

    async def start(self, agent: Agent, wave: int, rank: int, *, own_process: bool) -> None:
        """Start a helper; when refused, ask again, and once more."""
        for _ in range(1 + INSISTS):
            try:
                async with agent.spawn("helper", task=f"look at part {rank} of {wave}") as child:
                    if own_process:
                        await self.process(child, wave, rank)
                    else:
                        await self.helper(child, wave, rank)
                    return
            except ledger.Denied:
                await self.sleep(4)

    async def process(self, child: Agent, wave: int, rank: int) -> None:
        """Let a process of its own play the child, and wait for its end."""
        place = {PLACE: f"{wave}/{rank}", **child.identity.to_env()}
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ledger.demo.fleet",
            env={**os.environ, **place}, pass_fds=(int(os.environ[ALIVE]),),
        )  # fmt: skip
        await started.wait()


async def play() -> None:
    """The part of this process: the lead, or the helper that PLACE names."""
    fleet = Fleet()
    async with ledger.connect(judge="none") as led:
        if PLACE not in os.environ:
            await fleet.lead(led)
            return
        wave, _, rank = os.environ[PLACE].partition("/")
        async with led.join() as agent:
            await fleet.helper(agent, int(wave), int(rank))


def main() -> int:
    """Play, and say how it ended: 0, or KILLED_CODE."""
    code = 0
    try:
        asyncio.run(play())
    except* ledger.Killed:
        code = KILLED_CODE
    return code


if __name__ == "__main__":
    sys.exit(main())
