"""The demo's fleet: real processes that run away, scripted after an incident that people had.

`fleet` is what one process of the fleet does; `stage` starts the judge and the fleet, watches
them, and sees to it that nothing is left behind. `ledger demo` tells the story.
"""

KILLED_CODE = 9
"""How a process of the fleet ends whose agents were killed."""
