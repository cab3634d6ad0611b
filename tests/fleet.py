"""A fleet that works as policy wants it: endless events of its runs, the same at each call.

The mix, of 100 events: 43 of tool calls, 29 of model calls, 6 of tool calls asked for by name,
6 of leases (returned, asked for), 6 of spawns (asked for, started, ended), 6 of handoffs, 4 of
plans, constraints and outputs. Some calls go round a cycle and some are what another agent did,
so that about one event in 100 is a finding. Sixteen calls are in flight. The fleet is scripted.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, count, cycle
from typing import Any

from ledger import wire
from ledger.core import events as e
from ledger.core import policy
from ledger.core.events import Event
from ledger.core.shapes import Contract, Units
from ledger.log.kafka_keys import partition_of

Row = tuple[int, int, bytes]

START_MS = 1_760_000_000_000
IN_FLIGHT = 16
MANY, HUGE = 10**9, 10**15
WIDE = policy.Policy(
    name="bench",
    run=policy.RunLimits(
        agents_max=MANY, agents_live_max=MANY, depth_max=20, tool_calls_max=MANY,
        model_calls_max=MANY, tokens_max=HUGE, microdollars_max=HUGE,
    ),
    agent=policy.AgentLimits(
        open_children_max=MANY, children_max=MANY, tool_calls_max=MANY, model_calls_max=MANY,
        tokens_max=HUGE, microdollars_max=HUGE,
    ),
    lease=policy.Leases(per_agent_max=1_000),
)  # fmt: skip
"""Nobody is refused for want of room: what is measured is the way through, not the refusal."""


class Fleet:
    """A scripted run of a fixed number of agents in four processes: endless rows of their acts.

    It knows the lease ids that the fold will give, because they are made of partition and offset.
    """

    def __init__(
        self,
        agents: int,
        number: int = 0,
        *,
        spawns: bool = True,
        first_offset: int = 0,
        run: str = "",
        partition: int = 0,
    ) -> None:
        self.chance = random.Random(f"{agents} {number}")
        self.run = run or f"0199c2d1-7a00-7c3e-9d52-{number:012x}"
        self.partition = partition
        self.names = [f"researcher-{n}" for n in range(agents)]
        self.spawns = 2 if spawns else 0
        self.offset = first_offset
        self.now_ms = START_MS
        self.seqs = [0, 0, 0, 0]
        self.leases: dict[str, str] = {}
        self.born = agents
        self.calls = 0
        self.in_flight: deque[Callable[[], Event]] = deque()
        self._acts = self._events()

    def at(self, offset: int) -> bytes:
        """The next event, as it is written at this offset."""
        self.offset = offset
        self.now_ms += 1
        return wire.encode(next(self._acts))

    def rows(self) -> Iterator[Row]:
        """(offset, append_ms, bytes), without end; the first `opening` of them set the run up."""
        for offset in count(self.offset):
            yield offset, self.now_ms + 1, self.at(offset)

    @property
    def opening(self) -> int:
        return 2 * len(self.names)

    def _say(self, cls: type[Event], agent: str, **fields: Any) -> Event:
        process = int(agent.rpartition("-")[2]) % 4
        self.seqs[process] += 1
        source, seq = f"host-3f2a-{4100 + process}-88127731", self.seqs[process]
        return cls(
            run=self.run, agent=agent, source=source, seq=seq, at_ms=self.now_ms - 3,
            grade="enforced", **fields,
        )  # fmt: skip

    def _events(self) -> Iterator[Event]:
        lead = self.names[0]
        yield self._say(e.RunStarted, lead, policy=WIDE.digest, task_key="bench", role="lead")
        for place, name in enumerate(self.names[1:]):
            fields = {"role": "researcher", "task_fp": self._fp(), "task_near": self._fp()}
            yield self._say(e.AgentStarted, name, parent=self.names[min(place, 7)], **fields)
        for name in self.names:
            yield self._ask_lease(name)
        acts = (self._tool, self._model, self._asked, self._lease, self._spawn, self._handoff,
                self._note)  # fmt: skip
        while True:
            act = self.chance.choices(acts, weights=(22, 15, 2, 3, self.spawns, 2, 4))[0]
            yield from act(self.chance.choice(self.names))
            while len(self.in_flight) > IN_FLIGHT:
                yield self.in_flight.popleft()()

    def _fp(self) -> int:
        return self.chance.getrandbits(52) | 1

    def _ask_lease(self, name: str) -> Event:
        self.leases[name] = f"{self.partition}-{self.offset}"
        wants = Units(tool_calls=64, model_calls=64, tokens=400_000, microdollars=800_000)
        return self._say(e.LeaseRequested, name, wants=wants)

    def _call(self) -> str:
        self.calls += 1
        return f"c{self.calls}"

    def _tool(self, name: str) -> Iterator[Event]:
        dice = self.chance.random()
        rounds = 4 if dice < 0.03 else 1
        fp = 1 + int(dice * 1_000) if 0.03 < dice < 0.05 else self._fp()
        result = self._fp()
        for _ in range(rounds):
            call = self._call()
            yield self._say(e.ToolCallStarted, name, call=call, tool="search",
                            lease=self.leases[name], args_fp=fp, args_bytes=180)  # fmt: skip
            end = partial(self._say, e.ToolCallEnded, name, call=call, result_fp=result)
            if rounds > 1:
                yield end()
            else:
                self.in_flight.append(end)

    def _model(self, name: str) -> Iterator[Event]:
        call = self._call()
        yield self._say(e.ModelCallStarted, name, call=call, model="claude-sonnet-4-5",
                        lease=self.leases[name], prompt_fp=self._fp(), prompt_bytes=21_000,
                        tokens_estimate=6_000, microdollars_estimate=18_000)  # fmt: skip
        self.in_flight.append(
            lambda: self._say(
                e.ModelCallEnded, name, call=call, input_tokens=812, output_tokens=431,
                cache_read_tokens=4_096, cost_microdollars=10_130, prices="genai-prices",
                result_fp=self._fp(), result_bytes=1_800,
            )
        )  # fmt: skip

    def _asked(self, name: str) -> Iterator[Event]:
        call, fp, lease = self._call(), self._fp(), f"{self.partition}-{self.offset}"
        yield self._say(e.ToolCallRequested, name, call=call, tool="fetch", args_fp=fp)
        yield self._say(e.ToolCallStarted, name, call=call, tool="fetch", lease=lease, args_fp=fp)
        yield self._say(e.ToolCallEnded, name, call=call, result_fp=self._fp(), result_bytes=900)

    def _lease(self, name: str) -> Iterator[Event]:
        yield self._say(e.LeaseReturned, name, lease=self.leases[name])
        yield self._ask_lease(name)

    def _spawn(self, name: str) -> Iterator[Event]:
        child, lease = f"researcher-{self.born}", f"{self.partition}-{self.offset}"
        self.born += 1
        task = {"role": "researcher", "task": "find sources", "task_fp": self._fp()}
        yield self._say(e.SpawnRequested, name, child=child, **task)
        yield self._say(e.AgentStarted, child, parent=name, lease=lease, **task)
        yield self._say(e.AgentEnded, child, result_fp=self._fp())

    def _handoff(self, name: str) -> Iterator[Event]:
        handoff, to = f"h{self.offset}", self.chance.choice(self.names)
        contract = Contract(goal="check the sources", constraints=("c1", "c2"))
        yield self._say(e.HandoffOffered, name, handoff=handoff, to=to, contract=contract)
        yield self._say(e.HandoffAccepted, to, handoff=handoff)
        yield self._say(e.HandoffReturned, to, handoff=handoff, result_fp=self._fp())

    def _note(self, name: str) -> Iterator[Event]:
        output = f"o{self.offset}"
        kind = self.chance.randrange(3)
        if kind == 0:
            yield self._say(e.OutputProduced, name, output=output, result_fp=self._fp())
        elif kind == 1:
            yield self._say(e.ConstraintDeclared, name, constraint="c1", text="cite it")
        else:
            yield self._say(e.PlanProposed, name, plan=output, goal="write the report")


def recorded_policy() -> Event:
    """The event that makes the policy known."""
    return e.PolicyRecorded(run="policy", digest=WIDE.digest, text=WIDE.text)


def run_name(number: int) -> str:
    """A run that begins now: older ones would be refused."""
    now = f"{time.time_ns() // 1_000_000:012x}"
    return f"{now[:8]}-{now[8:]}-7c3e-9d52-{number:012x}"


def partition_rows(
    partition: int, partitions: int, *, agents: int, runs: int
) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a partition of Kafka, without end: its policy, then `runs` that take turns.

    They begin one after the other. The first row is at offset 0.
    """
    yield b"policy", wire.encode(recorded_policy())
    names = (run_name(number) for number in count())
    mine = (name for name in names if partition_of(name.encode(), partitions) == partition)
    fleets = [Fleet(agents, n, run=next(mine), partition=partition) for n in range(runs)]
    turns = [fleet for fleet in fleets for _ in range(fleet.opening)]
    for offset, fleet in enumerate(chain(turns, cycle(fleets)), start=1):
        yield fleet.run.encode(), fleet.at(offset)
