"""The page of findings: what each detector sees, its rule, and a finding it really made."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import inspect
import json
import re
from dataclasses import asdict
from types import ModuleType

from ledger.cli.reference import examples
from ledger.cli.reference import markdown as md
from ledger.core.detectors import DETECTORS
from ledger.core.events import EVENT_TYPES
from ledger.core.verdicts import SEVERITIES, Effect
from ledger.policy_file import fields
from ledger.policy_text import described

INTRO = """
A detector looks at each event and says when it sees its pattern: once per subject and level, then only when it grew worse, and once when it is over (`level` 0).
What a finding leads to is in the policy, by severity: its effect, one of {effects}.
An effect that stops somebody is an [order](verdicts.md#ruleorder) of the judge.
A rule in `evaluate_only` says what it would have done and does nothing.
Imported runs (grade `observed`) get findings and no orders.

`clock_jump` is the one finding without a detector: log time went more than `memory.clock_jump_ms` past a deadline, which makes nothing expire at once.

To add one, see [contributing](contributing.md#a-detector).
"""


def page() -> str:
    """The page, as Markdown."""
    effects = ", ".join(f"`{effect}`" for effect in Effect.__args__)  # type: ignore[attr-defined]
    return md.page(
        "Findings",
        INTRO.format(effects=effects).strip(),
        md.table(
            ["finding", "what is wrong", *SEVERITIES],
            [[f"[`{d.NAME}`](#{d.NAME})", summary(d), *_effects(d.NAME)] for d in DETECTORS],
        ),
        *[_section(detector) for detector in DETECTORS],
    )


def summary(detector: ModuleType) -> str:
    """The pattern in one sentence."""
    first = (detector.__doc__ or "").partition("\n")[0]
    return first.partition(": ")[2] or first


def parts(detector: ModuleType) -> dict[str, str]:
    """The three answers of a detector's docstring, by their headings."""
    text = inspect.cleandoc(detector.__doc__ or "")
    found = re.split(r"^(What it sees|Why it matters|What it ignores)$", text, flags=re.MULTILINE)
    return {head: md.prose(body) for head, body in zip(found[1::2], found[2::2], strict=True)}


def _effects(name: str) -> list[str]:
    defaults = {f.name: f.default for f in fields()}
    return [f"`{defaults[f'findings.{name}.{severity}']}`" for severity in SEVERITIES]


def _section(detector: ModuleType) -> str:
    name: str = detector.NAME
    rule = [field for field in fields() if field.path[:2] == ("findings", name)]
    verdict, found = examples.finding(name)
    shown = {key: value for key, value in asdict(found).items() if value not in ({}, ())}
    body = [f"## {name}", summary(detector)[:1].upper() + summary(detector)[1:]]
    for head, text in parts(detector).items():
        body += [f"**{head}.** {text}"]
    read = [cls for cls in EVENT_TYPES if cls in {**detector.DECIDES, **detector.REMEMBERS}]
    reads = ", ".join(f"`{cls.model_fields['type'].default}`" for cls in read)
    body += [
        f"Reads: {reads}.",
        md.table(
            ["policy field", "default", "means"],
            [[md.mono(f.name), md.mono(json.dumps(f.default)), described(f)] for f in rule],
        ),
        f"An example, said of a `{verdict.about}`:",
        md.code(json.dumps(shown, indent=2, ensure_ascii=False), "json"),
    ]
    if verdict.denial is not None:
        body.append(f"The agent was told: “{verdict.denial.reason} {verdict.denial.instead}”")
    return "\n\n".join(body)
