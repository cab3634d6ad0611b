"""The language of stories: sentences become events, and what the judge says becomes lines.

    # What it is about; where it happened. Scripted, if it is.
    [run]
    agents_live_max = 3
    ---
    0       root starts
    1       root asks to spawn a: write the report
            > allow
    1       root spawns a: write the report
    2..9    root asks to spawn b{n}
       [2] > deny agent.open_children_max
       [2] ! runaway_fan_out root warning limit=agent.open_children_max …
    [3..9] > deny agent.open_children_max

Above `---` stands a policy (TOML; may be empty), below it the run. A sentence has a time in
seconds (`5`, `250ms`, `2m`, `3h`); `2..9` says it at each of these seconds, with `{n}` for the
second, and `2..9/50` fifty times in between, `{n}` counting them from 1. What is said of a
sentence stands indented below it, all of it:
    > allow | deny LIMIT | transform LIMIT | would deny LIMIT   (and what a lease holds)
    ! finding subject severity key=value…      (`over` in place of the severity: it is over)
    x action scope [agent]                     an order that a rule gave
    ~ order                                    an order that is quiet now
    - reason                                   the event was refused
`python -m tests.stories` lists the sentences; `--rewrite` writes down what is said now.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from ledger.core import policy
from ledger.core.events import Record
from ledger.core.fold import fold
from ledger.core.state import State
from ledger.core.verdicts import UNITS, Finding, Verdict
from tests.stories.sentences import NotUnderstood, Teller

SCALE_MS = {"ms": 1, "": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000}
INDENT = " " * 8
_TIME = r"(\d+)(ms|s|m|h)?"
_SENTENCE = re.compile(rf"{_TIME}(?:\.\.{_TIME}(?:/(\d+))?)?\s+(\S.*)")


class StoryWrong(Exception):
    """A story that cannot be read; names the file, the line, and what is wrong with it."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path, self.line, self.problem = path, line, problem

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {self.problem}"


@dataclass
class Line:
    """A line of the file; a sentence with its times: (what `{n}` is, ms)."""

    number: int
    text: str
    sentence: str = ""
    times: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Story:
    """A story as it was read: its head (comments and policy) word by word, then its lines."""

    path: Path
    head: list[str]
    policy: policy.Policy
    lines: list[Line]

    def told(self) -> tuple[str, list[Verdict]]:
        """(the story with what is said of it now, every verdict)."""
        state, teller = State(0), Teller(self.policy)
        text, verdicts, offset = list(self.head), list[Verdict](), 0
        state.policies[self.policy.digest] = self.policy
        for line in self.lines:
            text.append(line.text)
            said: list[tuple[int, list[str]]] = []
            for n, at_ms in line.times:
                said.append((n, []))
                sentence = line.sentence.replace("{n}", str(n))
                try:
                    for event in teller.events(sentence, at_ms):
                        offset += 1
                        verdict = fold(state, Record(offset, at_ms, event))
                        teller.heard(verdict)
                        if verdict is not None:
                            verdicts.append(verdict)
                            said[-1][1].extend(lines_of(verdict))
                except NotUnderstood as problem:
                    raise StoryWrong(self.path, line.number, str(problem)) from None
            text += _placed(said)
        return "\n".join(text) + "\n", verdicts


def read(path: Path) -> Story:
    """The story in a file. Raises StoryWrong."""
    lines = path.read_text().splitlines()
    if "---" not in lines:
        raise StoryWrong(path, len(lines), "no line `---` between the policy and the run")
    middle = lines.index("---")
    try:
        pinned = policy.from_toml("\n".join(lines[:middle]))
    except (tomllib.TOMLDecodeError, ValidationError) as problem:
        raise StoryWrong(path, 1, f"the policy: {problem}") from None
    told: list[Line] = []
    for number, text in enumerate(lines[middle + 1 :], start=middle + 2):
        stripped = text.strip()
        if text.startswith((" ", "\t")) and stripped[:1] in "[>!x~-":
            if not told:
                raise StoryWrong(path, number, "nothing was told yet of which this could be said")
        elif not stripped or stripped.startswith("#"):
            told.append(Line(number, text))
        else:
            told.append(_sentence(path, number, text))
    return Story(path, lines[: middle + 1], pinned, told)


def _sentence(path: Path, number: int, text: str) -> Line:
    found = _SENTENCE.fullmatch(text.strip())
    if found is None:
        raise StoryWrong(path, number, f"no time at the start of {text.strip()!r}")
    first, unit, last, last_unit, times, sentence = found.groups()
    start_ms = int(first) * SCALE_MS[unit or ""]
    if last is None:
        return Line(number, text, sentence, [(1, start_ms)])
    end_ms = int(last) * SCALE_MS[last_unit or unit or ""]
    if end_ms < start_ms:
        raise StoryWrong(path, number, f"{last} comes before {first}")
    if times is None:
        seconds = range(start_ms // 1_000, end_ms // 1_000 + 1)
        return Line(number, text, sentence, [(second, second * 1_000) for second in seconds])
    gaps = max(1, int(times) - 1)
    spread = [(n + 1, start_ms + (end_ms - start_ms) * n // gaps) for n in range(int(times))]
    return Line(number, text, sentence, spread)


def _placed(said: list[tuple[int, list[str]]]) -> Iterator[str]:
    """The lines below a sentence; said at several times, each with its time or its span."""
    if len(said) == 1:
        yield from (INDENT + line for line in said[0][1])
        return
    for lines, group in groupby(said, key=lambda one: one[1]):
        times = [n for n, _ in group]
        span = f"[{times[0]}]" if len(times) == 1 else f"[{times[0]}..{times[-1]}]"
        yield from (f"{span:>10} {line}" for line in lines)


def lines_of(verdict: Verdict) -> Iterator[str]:
    """What a verdict says, in lines."""
    if verdict.refusal:
        yield f"- {verdict.refusal}"
    if verdict.decision is not None:
        limit = "" if verdict.denial is None else f" {verdict.denial.limit}"
        yield f"> {verdict.decision}{limit}{_granted(verdict)}"
    if verdict.would is not None:
        yield f"> would deny {verdict.would.limit}"
    for finding in verdict.findings:
        yield _line_of(finding)
    for order in verdict.orders:
        yield f"x {order.action} {order.scope} {order.agent}".rstrip()
    for order_id in verdict.quiet:
        yield f"~ {order_id}"


def _granted(verdict: Verdict) -> str:
    """What a lease that was asked for by amount holds."""
    if verdict.lease is None or verdict.about != "lease_requested":
        return ""
    units = zip(UNITS, verdict.lease.units, strict=True)
    return ": " + ", ".join(f"{amount} {unit}" for unit, amount in units if amount)


def _line_of(finding: Finding) -> str:
    facts = [f"{key}={_shown(value)}" for key, value in finding.facts.items()]
    how = finding.severity if finding.level else "over"
    return " ".join(["!", finding.name, finding.subject, how, *facts])


def _shown(value: int | str) -> str:
    return repr(value) if isinstance(value, str) and (" " in value or not value) else str(value)
