"""Laws of the fold, on fleets: whatever the scenario, the seed, the policy and the delays.

The counting here is slow and obvious, from events alone; it knows nothing of budgets or leases.
"""

from collections import Counter

from hypothesis import given, note, settings
from hypothesis import strategies as st

from ledger import wire
from ledger.core import codec
from ledger.core import events as e
from ledger.core.events import Record
from ledger.core.fold import apply_published, fold
from ledger.core.policy import DEFAULT, AgentLimits, Leases, Policy, RunLimits
from ledger.core.state import State
from ledger.simulate import Step, catalogue, fleet, records, simulate
from ledger.simulate.report import command

NAMES = [scenario.name for scenario in catalogue()]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Limits so tight that most scenarios run into one of them, and leases of all lives."""
    small, calls = st.integers(0, 12), st.integers(0, 150)
    money = st.integers(0, 3_000_000)
    return Policy(
        name="tight",
        run=RunLimits(
            agents_max=draw(st.integers(1, 40)),
            agents_live_max=draw(st.integers(1, 12)),
            depth_max=draw(st.integers(0, 5)),
            tool_calls_max=draw(calls),
            model_calls_max=draw(calls),
            tokens_max=draw(money),
            microdollars_max=draw(money),
            spawns_refused_max=draw(st.integers(1, 40)),
        ),
        agent=AgentLimits(
            open_children_max=draw(small),
            children_max=draw(small),
            tool_calls_max=draw(calls),
            model_calls_max=draw(calls),
            tokens_max=draw(money),
            microdollars_max=draw(money),
        ),
        lease=Leases(
            ttl_ms=draw(st.sampled_from([100, 1_000, 7_000, 30_000, 600_000])),
            tool_calls=draw(st.integers(0, 64)),
            model_calls=draw(st.integers(0, 64)),
            tokens=draw(money),
            per_agent_max=draw(st.integers(1, 16)),
        ),
    )


any_policy = st.one_of(st.just(DEFAULT), policies())
any_name = st.sampled_from(NAMES)
any_seed = st.integers(0, 2**32)
any_delay = st.sampled_from([1, 2, 50, 3_000])


def repeat(name: str, seed: int) -> None:
    """Let a law that breaks say which command shows it."""
    note(command(name, seed))


class Count:
    """What has happened in a run, by counting its events."""

    def __init__(self) -> None:
        self.run: Counter[str] = Counter()
        self.agents: dict[str, Counter[str]] = {}
        self.parent: dict[str, str] = {}
        self.live: dict[str, str] = {}

    def see(self, event: e.Event) -> None:
        """Count one event."""
        if isinstance(event, e.RunStarted | e.AgentStarted):
            self.parent[event.agent] = parent = getattr(event, "parent", "")
            self.agents[event.agent] = Counter(
                depth=1 + self.agents[parent]["depth"] if parent else 0
            )
            self.live[event.agent] = event.source
            self._add(parent, "spawns", 1)
        elif isinstance(event, e.AgentEnded):
            self.live.pop(event.agent, None)
        elif isinstance(event, e.HolderLost):
            self.live = {a: host for a, host in self.live.items() if host != event.holder}
        elif isinstance(event, e.ToolCallStarted):
            self._add(event.agent, "tool_calls", 1)
        elif isinstance(event, e.ModelCallStarted):
            self._add(event.agent, "model_calls", 1)
        elif isinstance(event, e.ModelCallEnded):
            tokens = event.input_tokens + event.output_tokens
            tokens += event.cache_read_tokens + event.cache_write_tokens
            self._add(event.agent, "tokens", tokens)
            self._add(event.agent, "microdollars", event.cost_microdollars)

    def open_children(self, agent: str) -> int:
        """Children of the agent that live."""
        return sum(self.parent[child] == agent for child in self.live)

    def _add(self, agent: str, what: str, amount: int) -> None:
        self.run[what] += amount
        if agent:
            self.agents[agent][what] += amount


def check_limits(count: Count, policy: Policy) -> None:
    """Nothing counted is past its limit."""
    run, agent = policy.run, policy.agent
    assert count.run["spawns"] <= run.agents_max
    assert len(count.live) <= run.agents_live_max
    for unit in ("tool_calls", "model_calls", "tokens", "microdollars"):
        assert count.run[unit] <= getattr(run, f"{unit}_max"), unit
        for name, own in count.agents.items():
            assert own[unit] <= getattr(agent, f"{unit}_max"), (name, unit)
    for name, own in count.agents.items():
        assert own["spawns"] <= agent.children_max, name
        assert own["depth"] <= run.depth_max, name
        assert count.open_children(name) <= agent.open_children_max, name


@given(any_name, any_seed, any_policy, any_delay, any_delay)
def test_limits_hold_however_the_fleet_behaves(
    name: str, seed: int, policy: Policy, latch_ms: int, round_trip_ms: int
) -> None:
    """Invariant 5. The scripts' estimates are exact: tokens and money do not overshoot either."""
    count = Count()
    repeat(name, seed)
    for record, _ in records(name, seed, policy, latch_ms=latch_ms, round_trip_ms=round_trip_ms):
        before = dict(count.run), len(count.live)
        count.see(record.event)
        if before != (dict(count.run), len(count.live)):
            check_limits(count, policy)


@given(any_name, any_seed, st.one_of(st.none(), any_policy))
def test_events_are_numbered_and_timed_and_read_back(
    name: str, seed: int, policy: Policy | None
) -> None:
    """A log made by the simulator is a log."""
    last, seqs = 0, Counter[str]()
    repeat(name, seed)
    for offset, (record, verdict) in enumerate(records(name, seed, policy), start=1):
        event = record.event
        if event.seq:
            seqs[event.source] += 1

        assert wire.decode(wire.encode(event)) == event
        assert verdict is None or wire.decode_verdict(wire.encode_verdict(verdict)) == verdict
        assert event.seq == (seqs[event.source] if event.seq else 0)
        assert record.offset == offset
        assert record.append_ms >= last
        last = record.append_ms


def replayed(steps: list[Step]) -> tuple[State, State]:
    """The states of folding again and of applying what was published."""
    again, applied = State(), State()
    for written, verdict in steps:
        event = wire.decode(wire.encode(written.event))
        record = Record(written.offset, written.append_ms, event)
        found = fold(again, record)
        apply_published(applied, record, verdict)

        assert (found is None) == (verdict is None)
        if found is not None and verdict is not None:
            assert wire.encode_verdict(found) == wire.encode_verdict(verdict)
    return again, applied


@given(any_name, any_seed, any_policy)
def test_replay_gives_the_same_verdicts_and_state(name: str, seed: int, policy: Policy) -> None:
    """Invariant 2: from the bytes of the log alone, folded anew or applied as published."""
    repeat(name, seed)
    again, applied = replayed(list(records(name, seed, policy)))

    assert again.runs.keys() == applied.runs.keys()
    for run in again.runs:
        assert codec.dump_run(again.runs[run]) == codec.dump_run(applied.runs[run])


@settings(max_examples=10)
@given(st.integers(1, 25), any_seed)
def test_a_fleet_replays_too(n_runs: int, seed: int) -> None:
    """Runs that share a log do not share anything else."""
    again, applied = replayed(list(fleet(n_runs, seed)))

    for run in again.runs:
        assert codec.dump_run(again.runs[run]) == codec.dump_run(applied.runs[run])


@given(any_name, any_seed, any_policy, any_delay)
def test_nothing_is_granted_in_a_killed_scope(
    name: str, seed: int, policy: Policy, latch_ms: int
) -> None:
    """Invariant 6: after the order's place in the log no grant follows, however late it arrives."""
    parent: dict[str, str] = {}
    killed: list[tuple[str, str]] = []

    def within(agent: str, scope: str, target: str) -> bool:
        line = []
        while agent:
            line.append(agent)
            agent = parent.get(agent, "")
        return scope == "run" or target in (line[:1] if scope == "agent" else line)

    repeat(name, seed)
    for record, verdict in records(name, seed, policy, latch_ms=latch_ms):
        event = record.event
        if isinstance(event, e.AgentStarted):
            parent[event.agent] = event.parent
        if verdict is not None and verdict.lease is not None:
            assert not any(within(verdict.lease.agent, *order) for order in killed)
        if isinstance(event, e.OrderGiven) and event.action == "kill":
            killed.append((event.scope, event.agent))
        for order in verdict.orders if verdict is not None else ():
            killed += [(order.scope, order.agent)] * (order.action == "kill")


@given(any_name, any_seed, any_policy)
def test_the_report_counts_what_the_budgets_count(name: str, seed: int, policy: Policy) -> None:
    """Two ways of counting one run: by the script's acts, and by the fold from events."""
    repeat(name, seed)
    report = simulate(name, seed, policy)
    state = State()
    for record, _ in records(name, seed, policy):
        fold(state, record)
        run = state.runs.get(f"{name}-{seed}")
        if run is not None:
            spent = [run.budget.spent(unit) for unit in range(5)]
            reserved = [run.budget.reserved(unit) for unit in range(5)]
    counted = [
        1 + report.agents_spawned,
        report.tool_calls,
        report.model_calls,
        report.tokens,
        report.microdollars,
    ]

    assert reserved == [0, 0, 0, 0, 0] or report.outcome == "stuck"
    assert spent[3:] == counted[3:]
    # What a lease held when its holder died or was killed is counted as used.
    if report.killed_at_ms is None and name != "leaky_reservations":
        assert spent == counted
    assert all(a >= b for a, b in zip(spent, counted, strict=True))
