"""What the core costs: judging one event, keeping one run, writing it down, replaying it.

The mix, of 100 events: 43 of tool calls, 29 of model calls, 6 of tool calls asked for by name,
6 of leases (returned, asked for), 6 of spawns (asked for, started, ended), 6 of handoffs, 4 of
plans, constraints and outputs. Some calls go round a cycle and some are what another agent did,
so that about one event in 100 is a finding. Sixteen calls are in flight. The fleet is scripted.
Times are of the thread's own processor clock: what other processes take is not counted.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

from ledger import wire
from ledger.core import codec, policy
from ledger.core import events as e
from ledger.core.events import Event, Record
from ledger.core.fold import fold
from ledger.core.shapes import Contract, Units
from ledger.core.state import State
from ledger.replay import replay

Figure = dict[str, Any]
Row = tuple[int, int, bytes]

ROUNDS = 5
EVENTS_A_ROUND = 6_000
SIZES = (10, 1_000, 10_000)
RUNS_KEPT = 200
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

    It knows the lease ids that the fold will give, because they are made of offsets.
    """

    def __init__(
        self, agents: int, number: int = 0, *, spawns: bool = True, first_offset: int = 0
    ) -> None:
        self.chance = random.Random(f"{agents} {number}")
        self.run = f"0199c2d1-7a00-7c3e-9d52-{number:012x}"
        self.names = [f"researcher-{n}" for n in range(agents)]
        self.spawns = 2 if spawns else 0
        self.offset = first_offset
        self.now_ms = START_MS
        self.seqs = [0, 0, 0, 0]
        self.leases: dict[str, str] = {}
        self.born = agents
        self.calls = 0
        self.in_flight: deque[Callable[[], Event]] = deque()

    def rows(self) -> Iterator[Row]:
        """(offset, append_ms, bytes), without end; the first `opening` of them set the run up."""
        for event in self._events():
            yield self.offset, self.now_ms, wire.encode(event)
            self.offset += 1
            self.now_ms += 1

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
        self.leases[name] = f"0-{self.offset}"
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
        call, fp, lease = self._call(), self._fp(), f"0-{self.offset}"
        yield self._say(e.ToolCallRequested, name, call=call, tool="fetch", args_fp=fp)
        yield self._say(e.ToolCallStarted, name, call=call, tool="fetch", lease=lease, args_fp=fp)
        yield self._say(e.ToolCallEnded, name, call=call, result_fp=self._fp(), result_bytes=900)

    def _lease(self, name: str) -> Iterator[Event]:
        yield self._say(e.LeaseReturned, name, lease=self.leases[name])
        yield self._ask_lease(name)

    def _spawn(self, name: str) -> Iterator[Event]:
        child, lease = f"researcher-{self.born}", f"0-{self.offset}"
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


def empty_state() -> State:
    """A state that holds no run yet, and knows the policy."""
    state = State(0)
    state.policies[WIDE.digest] = WIDE
    return state


def fold_rows(state: State, rows: list[Row]) -> tuple[int, int]:
    """(nanoseconds, findings) of decoding and folding the rows one by one."""
    read, findings = wire.reader(), 0
    start = time.thread_time_ns()
    for offset, append_ms, value in rows:
        verdict = fold(state, Record(offset, append_ms, read(value)))
        if verdict is not None and verdict.findings:
            findings += len(verdict.findings)
    return time.thread_time_ns() - start, findings


def decode_rows(rows: list[Row]) -> int:
    """Nanoseconds of decoding alone."""
    read = wire.reader()
    start = time.thread_time_ns()
    for offset, append_ms, value in rows:
        Record(offset, append_ms, read(value))
    return time.thread_time_ns() - start


def fold_figures() -> Iterator[Figure]:
    """Decode and fold, at three sizes of run; the sizes take turns, so that noise is shared."""
    states, streams = {}, {}
    for size in SIZES:
        fleet = Fleet(size)
        states[size], streams[size] = empty_state(), fleet.rows()
        fold_rows(states[size], list(islice(streams[size], fleet.opening + EVENTS_A_ROUND)))
    took: dict[int, list[int]] = {size: [] for size in SIZES}
    decoding: list[int] = []
    found = 0
    for _ in range(ROUNDS):
        for size in SIZES:
            rows = list(islice(streams[size], EVENTS_A_ROUND))
            gc.collect()
            if size == SIZES[0]:
                decoding.append(decode_rows(rows))
            nanoseconds, findings = fold_rows(states[size], rows)
            took[size].append(nanoseconds)
            found += findings
    few = median(took[SIZES[0]])
    for size in SIZES:
        base, what = (median(decoding), "decode alone") if size == SIZES[0] else (few, "10 agents")
        yield {
            "figure": "fold_us", "value": micros(median(took[size])), "unit": "us",
            "agents": size, "baseline": micros(base), "baseline_is": what,
            "ratio": round(median(took[size]) / base, 3),
            "findings_per_1000": round(1_000 * found / (ROUNDS * EVENTS_A_ROUND * len(SIZES)), 1),
        }  # fmt: skip


def micros(nanoseconds: float) -> float:
    """Microseconds an event, of a round's nanoseconds."""
    return round(nanoseconds / EVENTS_A_ROUND / 1_000, 2)


def run_figures() -> Iterator[Figure]:
    """Memory of a live run of 10 agents: 64 remembered calls, every ring of steps full."""
    rows = [
        list(islice(Fleet(10, number, spawns=False).rows(), 420)) for number in range(RUNS_KEPT)
    ]
    state = empty_state()
    fold_rows(state, rows[0])
    state.runs.clear()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for some in rows:
        fold_rows(state, some)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kb = (after - before) / RUNS_KEPT / 1_000
    yield {"figure": "run_kb", "value": round(kb, 1), "unit": "kB"}
    yield from _checkpoint_figures(state)


def _checkpoint_figures(state: State) -> Iterator[Figure]:
    runs = list(state.runs.values())
    out, back, written = [], [], []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        written = [codec.dump_run(run) for run in runs]
        out.append(time.thread_time_ns() - start)
        start = time.thread_time_ns()
        for data in written:
            codec.load_run(data, state)
        back.append(time.thread_time_ns() - start)
    for figure, took in (("checkpoint_dump_us", out), ("checkpoint_load_us", back)):
        value = round(median(took) / len(runs) / 1_000, 1)
        yield {"figure": figure, "value": value, "unit": "us"}
    yield {"figure": "checkpoint_bytes", "value": len(written[0]), "unit": "bytes"}


def replay_figures() -> Iterator[Figure]:
    """Ten runs of 10 agents, one after the other: folded again, every verdict compared."""
    rows: list[Row] = [(0, START_MS, wire.encode(recorded_policy()))]
    for number in range(10):
        rows += islice(Fleet(10, number, first_offset=len(rows)).rows(), EVENTS_A_ROUND)
    read, state, said = wire.reader(), State(0), []
    for offset, append_ms, value in rows:
        verdict = fold(state, Record(offset, append_ms, read(value)))
        if verdict is not None:
            verdict.generation = 3
            said.append((offset, wire.encode_verdict(verdict)))
    took = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.thread_time_ns()
        report = replay(rows, said)
        took.append(time.thread_time_ns() - start)
        if not report.equal or report.compared != len(said):
            raise AssertionError(str(report))
    yield {
        "figure": "replay_events_per_s", "value": round(len(rows) / median(took) * 1e9),
        "unit": "events/s", "verdicts_per_100_events": round(100 * len(said) / len(rows), 1),
    }  # fmt: skip


def recorded_policy() -> Event:
    """The event that makes the policy known."""
    return e.PolicyRecorded(run="policy", digest=WIDE.digest, text=WIDE.text)


def figures() -> Iterator[Figure]:
    """Every figure of this module, each as soon as it is measured."""
    yield from fold_figures()
    yield from run_figures()
    yield from replay_figures()


if __name__ == "__main__":
    for figure in figures():
        sys.stdout.write(json.dumps(figure) + "\n")
