"""Policies as people read them: a complete TOML file with what each field means.

`policies/default.toml` is written here from the code, and a test keeps it so.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import Any

from ledger.core.policy import DEFAULT, Policy
from ledger.policy_file import Field, fields

SECTIONS = {
    "run": "What all agents of one run may do together.",
    "agent": "What one agent may do itself; its children have their own.",
    "roles": "Limits of an agent in a role, where they differ from [agent]: [roles.<role>].",
    "tenants": "Limits of a tenant's runs, where they differ from [run]: [tenants.<tenant>].",
    "efforts": "Limits of an effort class, where they differ from [run]: [efforts.<effort>].\n"
    "Where tenant and effort class both speak, the tighter holds.",
    "lease": "How much a process may hold without asking, and for how long.",
    "findings": "What a finding leads to, by its severity, and whether that is done or only said.",
    "memory": "How much of a run the judge remembers.",
    "unreachable": "What a client does while the ledger cannot be reached.",
    "client": "How clients of the ledger behave.",
}
"""What each table of a policy is for."""

EXAMPLES = {
    "roles": "[roles.researcher]\ntool_calls_max = 200\ntokens_max = 5000000",
    "tenants": "[tenants.acme]\nmicrodollars_max = 20000000",
    "efforts": "[efforts.simple]\nagents_max = 4\ndepth_max = 1",
}
"""Tables that are empty by default, as they might be."""


def toml(policy: Policy) -> str:
    """The policy as TOML with comments; reading it gives an equal policy."""
    values = policy.model_dump(mode="json", exclude_none=True)
    usual = DEFAULT.model_dump(mode="json", exclude_none=True)
    digest = f"# Digest: {policy.digest}"
    out = [
        "# A policy of the coordination ledger: limits as data. Every field is here; one that is",
        "# left out of a file has the default. `ledger policy check FILE` checks it.",
        digest,
        "",
        *_lines(fields()[0], values, usual),
    ]
    for section, group in groupby(fields()[1:], key=lambda field: field.path[0]):
        out += ["", *[f"# {line}" for line in SECTIONS[section].split("\n")]]
        members = list(group)
        if section in EXAMPLES:
            out += _named_tables(section, members, values)
            continue
        for table, inside in groupby(members, key=lambda field: field.path[:-1]):
            out += [*([""] if len(table) > 1 else []), f"[{'.'.join(table)}]"]
            for field in inside:
                out += _lines(field, values, usual)
    return "\n".join(out) + "\n"


def _lines(field: Field, values: Any, usual: Any) -> list[str]:
    for key in field.path:
        values, usual = values[key], usual[key]
    about = f"  # {described(field)}"
    if values != usual:
        about += f"; default {json.dumps(usual)}"
    return [f"{field.path[-1]} = {_value(values)}{about}"]


def _named_tables(section: str, members: list[Field], values: dict[str, Any]) -> list[str]:
    """The tables whose names the user chose; where there are none, how one would look."""
    given = values.get(section, {})
    if not given:
        return [f"# {line}" for line in EXAMPLES[section].split("\n")]
    out: list[str] = []
    for name, limits in given.items():
        out += [*([""] if out else []), f"[{section}.{_key(name)}]"]
        for field in members:
            if field.path[-1] in limits:
                out.append(f"{field.path[-1]} = {limits[field.path[-1]]}  # {described(field)}")
    return out


def described(field: Field) -> str:
    """What the field means; an override means what its original does."""
    if field.description or len(field.path) == 1:
        return field.description or "the policy's name, for people"
    original = ("agent" if field.path[0] == "roles" else "run", field.path[-1])
    return next(f.description for f in fields() if f.path == original)


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=True)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=True)
