"""Brings a judge's memory back: checkpoints, then what was decided after them, never anew.

What a newcomer would get wrong
    What the judge before us said was acted upon, so it is applied as it was said, even where
    this code would say otherwise. Only events behind its last commit are ours to decide.
    A run whose checkpoint is of another version is folded again from the log. Where the log no
    longer goes back that far, the run counts as ended: nobody can say what it may still use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from ledger.core import codec, policy
from ledger.core.events import RunStarted
from ledger.core.fold import next_deadline
from ledger.judge.checkpoint import MARKER, POLICY, Marker
from ledger.judge.memory import Memory
from ledger.judge.records import published
from ledger.log.sqlite import SqliteLog

_RESTING = 200
"""Runs or events between two calls of `alive`."""


def restore(
    log: SqliteLog, alive: Callable[[], object], say: Callable[[str], object]
) -> tuple[Memory, Marker]:
    """The memory as of the last commit, and the marker it was restored from.

    `alive` is called often, for the heartbeat; `say` hears of runs that could not be restored.
    """
    rows = log.load_checkpoints().states
    decided = log.judge().next_offset
    marker = _marker(rows)
    memory = Memory()
    load_notes(memory, rows)
    stale = load_runs(memory, rows, alive)
    memory.advance(marker.offset, 0)
    if stale:
        _fold_again(log, memory, stale, marker, alive, say)
    catch_up = published(
        log, after_offset=marker.offset - 1, after_pos=marker.pos, until_offset=decided
    )
    for count, (record, verdict) in enumerate(catch_up):
        if not count % _RESTING:
            alive()
        memory.apply(record, verdict)
    last = log.read(decided - 2, 1)
    memory.advance(decided, last[0].append_ms if last and last[0].offset < decided else 0)
    # A tombstone may have been ahead of its checkpoint's marker; the oldest is forgotten first.
    ended = memory.state.ended
    memory.state.ended = dict(sorted(ended.items(), key=lambda item: memory.place[item[0]]))
    for run in memory.state.runs:
        memory.deadlines.note(run, next_deadline(memory.state, run))
    return memory, marker


def marker_of(log: SqliteLog) -> Marker:
    """From where on the checkpoints need the log, whoever judges. Reads all of them."""
    return _marker(log.load_checkpoints().states)


def _marker(rows: dict[str, bytes]) -> Marker:
    found = rows.pop(MARKER, None)
    return Marker() if found is None else Marker(**from_json(found))


def load_notes(memory: Memory, rows: dict[str, bytes]) -> None:
    """Take everything that is no run out of `rows`: policies, ends, orders for runs to come."""
    for key in [key for key, row in rows.items() if row[:1] == b"{"]:
        note: dict[str, Any] = from_json(rows.pop(key))
        if "policy" in note:
            memory.state.policies[key.removeprefix(POLICY)] = policy.from_text(note["policy"])
            continue
        if "ended" in note:
            memory.state.ended[key] = note["ended"]
        else:
            memory.state.latched[key] = note["latched"]
        memory.place[key] = note["at"]


def load_runs(memory: Memory, rows: Mapping[str, bytes], alive: Callable[[], object]) -> set[str]:
    """Load the runs; those that this code cannot read are returned."""
    stale = set()
    for count, (key, row) in enumerate(rows.items()):
        if not count % _RESTING:
            alive()
        try:
            memory.state.runs[key] = codec.load_run(row, memory.state)
        except (codec.Stale, ValueError, TypeError, LookupError, AttributeError):
            stale.add(key)
    return stale


def _fold_again(
    log: SqliteLog,
    memory: Memory,
    stale: set[str],
    marker: Marker,
    alive: Callable[[], object],
    say: Callable[[str], object],
) -> None:
    """Bring runs back from the whole log, with the verdicts they were given."""
    say(f"folding {len(stale)} runs again: their checkpoints are of another version")
    whole_from = _verdicts_whole_from(log)
    history = published(log, after_offset=0, after_pos=0, until_offset=marker.offset)
    for count, (record, verdict) in enumerate(history):
        if not count % _RESTING:
            alive()
        run = record.event.run
        if run in stale:
            memory.apply(record, verdict)
            if isinstance(record.event, RunStarted) and record.offset < whole_from:
                memory.state.runs.pop(run, None)
    lost = sorted(stale - memory.state.runs.keys() - memory.state.ended.keys())
    for run in lost:
        memory.give_up(run)
    if lost:
        say(
            f"{len(lost)} runs count as ended, {lost[0]} the first: this version cannot read "
            "their checkpoints, and the log no longer holds their start"
        )


def _verdicts_whole_from(log: SqliteLog) -> int:
    """The offset from which on no verdict was trimmed."""
    first = log.verdicts(0, 1)
    if not first:
        return 0 if log.verdicts_end() == 0 else log.end()
    return 0 if first[0].pos == 1 else first[0].offset + 1
