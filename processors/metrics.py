"""What a worker counts, in the form that Prometheus reads.

What a newcomer would get wrong
    Counters are of this process: they start at 0 with it. Lag is what the feed knows of;
    a partition that is held and not read shows in `ledger_judge_next_offset` standing still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .health import Health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Values = Mapping[str, tuple[str, float]]
"""By name, what it means, and how much it is."""


class Metrics:
    """Everything that `collect` gives, as text."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """As Prometheus scrapes it."""
        return generate_latest(self._registry)


def values(prefix: str, counters: Values, gauges: Values) -> Iterator[Metric]:
    """These as metrics; counters get `_total` behind their names."""
    for name, (what, count) in counters.items():
        yield CounterMetricFamily(f"{prefix}_{name}", what, value=count)
    for name, (what, value) in gauges.items():
        yield GaugeMetricFamily(f"{prefix}_{name}", what, value=value)


def of_judges(health: Health) -> Iterator[Metric]:
    """What there is to know of a worker of judges."""
    judge = health.judge
    counters = {
        "judged": ("events judged", judge.judged),
        "skipped": ("events that were there already", judge.skipped),
        "refused": ("records that are no event", judge.refused),
        "muted": ("of these, not copied because their source was muted", judge.muted),
        "seeks": ("times that the feed was moved back", judge.seeks),
        "taken_over": ("partitions taken over", judge.taken_over),
        "lost": ("partitions lost while held", judge.lost),
    }
    gauges = {
        "healthy": ("1 where /health says 200", int(not health.problems())),
        "partitions": ("partitions judged now", len(judge.held)),
        "partitions_broken": ("partitions that cannot be judged", len(judge.broken_partitions)),
        "rate": ("events judged a second, lately", health.rate),
        "take_over_seconds": ("how long the last take-over took", judge.take_over_s),
    }
    yield from values("ledger_judge", counters, gauges)
    yield from _of_partitions(health)


def _of_partitions(health: Health) -> Iterator[Metric]:
    families = {
        "lag": ("events not judged yet", health.lag),
        "next_offset": ("the next offset to judge", lambda one: one.memory.next_offset),
        "runs_live": ("runs in memory", lambda one: len(one.memory.state.runs)),
        "checkpoint_seconds": ("how long the last checkpoint took", lambda o: o.checkpoint_s),
    }
    held = sorted(health.judge.held.items())
    for name, (what, of) in families.items():
        family = GaugeMetricFamily(f"ledger_judge_{name}", what, labels=["partition"])
        for number, partition in held:
            family.add_metric([str(number)], of(partition))
        yield family
