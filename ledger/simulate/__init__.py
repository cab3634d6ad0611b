"""Fleets of agents with a clock of their own, healthy and sick, for stories, benchmarks, demos.

    report = simulate("fan_out_242", seed=4127)                    # unwatched, to its end
    report = simulate("fan_out_242", seed=4127, policy=DEFAULT)    # under the real fold
    both = compare("fan_out_242", seed=4127)
    for record, verdict in records("fan_out_242", 4127, DEFAULT): ...

Everything here is scripted, and says so. The same scenario, seed and policy give the same
events and verdicts, bit for bit, on any machine.
"""

from __future__ import annotations

from ledger.simulate.play import MIX, catalogue, compare, fleet, records, simulate
from ledger.simulate.report import Comparison, Earliness, Quoted, SimulationReport
from ledger.simulate.scenario import Scenario, UnknownScenario
from ledger.simulate.world import Step

__all__ = [
    "simulate", "compare", "records", "fleet", "catalogue", "MIX",
    "SimulationReport", "Comparison", "Earliness", "Quoted", "Scenario", "Step", "UnknownScenario",
]  # fmt: skip
