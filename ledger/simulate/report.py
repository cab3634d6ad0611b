"""What a simulation comes to: one frozen record of counts, findings and money."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ledger.core.verdicts import Effect, Severity


@dataclass(frozen=True, slots=True)
class Quoted:
    """A finding about one subject: when it first spoke (ms into the run) and what had been
    started and spent by then. `level`, `severity` and `effect` are the worst it came to."""

    name: str
    subject: str
    severity: Severity
    effect: Effect
    level: int
    first_ms: int
    agents_before: int
    microdollars_before: int
    microdollars_wasted_before: int
    calls_wasted_before: int
    reason: str


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """One run, counted to its end. Scripted: nobody's agents did this.

    `policy` is its digest, or empty for an unwatched run. Agents spawned leave the lead out.
    Wasted is what the scenario says nobody wanted. Times are ms since the run began.
    Refusals are those that an agent heard; `limits` counts them by what said no. `outcome` is
    that of the lead, or how the world cut the run short: `host_died`, `account_empty`,
    `cut_off`; `stuck` where agents wait for what never comes.
    """

    scenario: str
    seed: int
    policy: str
    outcome: str
    agents_spawned: int
    agents_wasted: int
    spawns_refused: int
    calls_refused: int
    live_peak: int
    children_open_peak: int
    depth_peak: int
    tool_calls: int
    model_calls: int
    errors: int
    tokens: int
    cache_read_tokens: int
    output_tokens: int
    microdollars: int
    tool_calls_wasted: int
    model_calls_wasted: int
    call_ms_wasted: int
    tokens_wasted: int
    microdollars_wasted: int
    duration_ms: int
    killed_at_ms: int | None
    quiet_at_ms: int | None
    spawns_by_minute: tuple[int, ...]
    limits: dict[str, int]
    findings: tuple[Quoted, ...]
    events: int
    verdicts: int
    events_refused: int
    scripted: bool = True

    @property
    def calls_wasted(self) -> int:
        """Tool calls and model calls that nobody wanted."""
        return self.tool_calls_wasted + self.model_calls_wasted

    @property
    def command(self) -> str:
        """What repeats this simulation."""
        return command(self.scenario, self.seed)

    def spoke(self) -> tuple[str, ...]:
        """The names of the findings that spoke, each once, in the order in which they did."""
        return tuple(dict.fromkeys(finding.name for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"command": self.command}


@dataclass(frozen=True, slots=True)
class Earliness:
    """How many of the wasted calls of an unwatched run were still ahead when a finding spoke.

    `ahead_per_mille` is 1,000 where nothing had been wasted yet; None where nothing ever is.
    """

    finding: str
    first_ms: int
    calls_wasted_before: int
    calls_wasted: int
    ahead_per_mille: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario and seed, left alone and under the ledger."""

    unwatched: SimulationReport
    watched: SimulationReport
    early: tuple[Earliness, ...]

    @property
    def saved_microdollars(self) -> int:
        """What the ledger kept from being spent; negative where it cost more."""
        return self.unwatched.microdollars - self.watched.microdollars

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "unwatched": self.unwatched.to_dict(),
            "watched": self.watched.to_dict(),
            "early": [asdict(one) for one in self.early],
            "saved_microdollars": self.saved_microdollars,
        }


def command(scenario: str, seed: int) -> str:
    """The command line that repeats a simulation."""
    return f"ledger simulate --scenario {scenario} --seed {seed}"
