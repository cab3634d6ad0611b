"""Tests of queries as text: what was recorded, and the rows that the query must answer with.

    # the widest agent of each run
    params: limit=5
    events
        0 run_started r1 root task_key=report
       10 agent_started r1 a parent=root lease="L 1"
    verdicts
        2 r1 a decision=deny denial={"reason": "no", "limit": "depth_max"}
    expect
        run | agent | open_max
        r1  | root  | 2

An event is: at_ms, type, run, agent (`-`: none), then fields; its offset is its line, from 1.
A verdict is: the offset it is about, run, agent, then fields; its clock is that event's.
A value is JSON, or a word. In `expect`, `-` is NULL.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.wire import decode, decode_verdict, encode, encode_verdict

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[\[{].*?[\]}](?=\s|$)|\S*)')


@dataclass(slots=True)
class Case:
    """One `.test` file, read. `rows` are the expected cells as texts, under `columns`."""

    params: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, bytes]] = field(default_factory=list)
    verdicts: list[tuple[int, str, bytes]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def read(path: Path) -> Case:
    """The case in this file. Raises ValueError, with the line, for what it cannot read."""
    case = Case()
    section = ""
    clocks: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            if text in ("events", "verdicts", "expect"):
                section = text
            elif text.startswith("params:"):
                case.params = _fields(text.removeprefix("params:"))
            elif section == "events":
                at_ms, kind, run, agent, *rest = text.split(maxsplit=4)
                clocks.append(int(at_ms))
                case.events.append((run, _event(int(at_ms), kind, run, agent, "".join(rest))))
            elif section == "verdicts":
                offset, run, agent, *rest = text.split(maxsplit=3)
                said = {
                    "offset": int(offset),
                    "run": run,
                    "agent": agent,
                    "at_ms": clocks[int(offset) - 1],
                }
                value = json.dumps(said | _fields("".join(rest))).encode()
                case.verdicts.append((int(offset), run, encode_verdict(decode_verdict(value))))
            elif section == "expect":
                cells = [cell.strip() for cell in text.split("|")]
                if case.columns:
                    case.rows.append(cells)
                else:
                    case.columns = cells
            else:
                raise ValueError("a line before any section")
        except Exception as problem:
            raise ValueError(f"{path.name}:{number}: {problem}") from problem
    return case


def shown(value: object) -> str:
    """A cell as a `.test` file writes it."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _event(at_ms: int, kind: str, run: str, agent: str, rest: str) -> bytes:
    said = {"type": kind, "run": run, "agent": "" if agent == "-" else agent, "at_ms": at_ms}
    # Imports carry their own clock, so that times here are not those of the test's machine.
    return encode(decode(json.dumps(said | {"grade": "observed"} | _fields(rest)).encode()))


def _fields(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _FIELD.findall(text):
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
