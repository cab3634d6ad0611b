"""Checkpoints: what has changed, written down in slices, so that no verdict waits for all of it.

What a newcomer would get wrong
    A slice says how its runs stand *now*, each with the offset it was last changed at. The
    marker is written with the last slice, and says how things stood when the *first* was cut:
    events from there on are applied again, and a run that has them already is silent.
    The log's own marker moves with every slice, so ours is a row of its own, with the key "".
    Whoever trims keeps what ours still needs.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from pydantic_core import to_json

from ledger.core.codec import dump_run
from ledger.core.policy import Policy
from ledger.judge.memory import Memory

MARKER = ""
POLICY = "policy".ljust(129)
"""Longer than any id of a run: policies share the table with runs."""
SLICE_S = 0.004
"""Time spent on encoding one slice, about; one run is never cut in two."""
SLICE_RUNS_MAX = 256
EVERY_S = 1.0
SHARE = 0.1
"""At most this share of the judge's time goes into checkpoints."""


class Marker(NamedTuple):
    """Apply again from `offset` on, with the verdicts after `pos`."""

    offset: int = 1
    pos: int = 0


class Checkpointer:
    """Cuts the slices of one memory; `marker` is the last one that was written down."""

    def __init__(self, memory: Memory, marker: Marker) -> None:
        self._memory = memory
        self._todo: list[str] = []
        self._next = marker
        self.marker = marker
        self._spent_s = 0.0
        self._ended_s = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is going on."""
        return bool(self._todo)

    def due(self) -> bool:
        """Whether a slice should be cut now."""
        if self._todo:
            return True
        wait_s = max(EVERY_S, self._spent_s / SHARE)
        behind = self._memory.next_offset > self.marker.offset
        return behind and time.monotonic() - self._ended_s >= wait_s

    def begin(self, verdicts_end: int) -> None:
        """Begin a checkpoint, unless one is going on. All up to here must be committed."""
        if self._todo:
            return
        memory = self._memory
        self._next = Marker(memory.next_offset, verdicts_end)
        # Taken from the end: policies before the runs that name them, the marker last.
        self._todo = [MARKER, *memory.changed, *(POLICY + digest for digest in memory.policies)]
        self._spent_s = 0.0
        memory.changed = {}
        memory.policies = {}

    def slice(self, seconds: float = SLICE_S) -> dict[str, bytes | None]:
        """The next rows of the checkpoint (None: to be removed), the marker in the last slice.

        About `seconds` are spent on it.
        """
        rows: dict[str, bytes | None] = {}
        began_s = time.monotonic()
        while self._todo and len(rows) < SLICE_RUNS_MAX:
            key = self._todo.pop()
            rows[key] = self._row(key)
            self._memory.changed.pop(key, None)
            if time.monotonic() - began_s > seconds:
                break
        return rows

    def written(self, rows: dict[str, bytes | None], spent_s: float) -> None:
        """The slice is committed; it took `spent_s` in all."""
        self._spent_s += spent_s
        if MARKER in rows:
            self.marker = self._next
            self._ended_s = time.monotonic()

    def _row(self, key: str) -> bytes | None:
        state, place = self._memory.state, self._memory.place
        if key == MARKER:
            return to_json(self._next._asdict())
        run = state.runs.get(key)
        if run is not None:
            return dump_run(run)
        if key in state.ended:
            return to_json({"ended": state.ended[key], "at": place[key]})
        if key in state.latched:
            return to_json({"latched": state.latched[key], "at": place[key]})
        if key.startswith(POLICY):
            policy: Policy = state.policies[key.removeprefix(POLICY)]
            return to_json({"policy": policy.text})
        return None
