"""The catalogue: importing it registers every scenario.

Numbers of an incident come from its public thread, and say so; everything else about it (the
tools' names, the prices, who says what when) is made up.
"""

from __future__ import annotations

from ledger.simulate.scenarios import budgets, delegation, fan_out, healthy, loops, stopping

LOADED = (fan_out, delegation, loops, stopping, budgets, healthy)
"""The files of the catalogue, in its order."""
