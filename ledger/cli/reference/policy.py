"""The page of policy fields: what each limits, what it may hold, its default, an example."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import json
from itertools import groupby

from ledger.cli.reference import markdown as md
from ledger.core.policy import DEFAULT
from ledger.policy_file import Field, fields
from ledger.policy_text import EXAMPLES, SECTIONS, described

INTRO = """
A policy is a TOML file with limits as data.
A field that is left out has its default; the default policy is safe to use untouched.

Its identity is its digest: `ledger policy digest FILE`.
Comments and order do not change it, any value does.
A run pins the policy that it starts with, and the policy's text is in the log before the run is.

- `ledger policy check FILE` names each mistake with line, field, value and what is allowed, and exits with 1.
- `ledger policy show [FILE]` prints a complete file: every field, its value, what it means.
- `ledger simulate --policy FILE` and `ledger replay` show what it does before anybody feels it.
- `--policy FILE` or `LEDGER_POLICY` names it on the command line, `ledger.connect(path, policy=FILE)` in a program.

Where tenant and effort class both speak, the tighter holds.
A role's limits replace those under `agent` for the agents in it.
"""

EXAMPLE = """
name = "search-team"

[run]
agents_max = 20
microdollars_max = 5000000     # five dollars

[roles.researcher]
tool_calls_max = 200

[tenants.acme]
tokens_max = 10000000

[findings.duplicated_work]
mode = "evaluate_only"         # say what it would have done
warning = "deny"
"""

UNREACHABLE = """
## When the ledger cannot be reached

A client that gets no answer acts by this table.
Judge down: requests are written and nobody answers them; the client starts a judge, or another takes over, within a second or two.
Log out of reach: nothing can be written (a full disk, a lost mount); what happened is kept in the bounded queue and written later.

| act | with a lease in hand | no lease, judge down | no lease, log out of reach | how long | hard stop |
| --- | --- | --- | --- | --- | --- |
| spawn | leases hold no spawns unless `lease.spawns` says so | `unreachable.spawn`: {spawn} | the same | the answer is waited for `unreachable.wait_ms`: {wait_ms:,} ms | with `proceed`: `unreachable.proceed_ms` ({proceed_ms:,} ms) after the last answer |
| tool call | goes on until the lease ends: `lease.ttl_ms` | `unreachable.tool_call`: {tool_call} | the same | the same | the same; with a lease: its end |
| model call | goes on until the lease ends: `lease.ttl_ms` | `unreachable.model_call`: {model_call} | the same | the same | the same; with a lease: its end |

What went on without an answer is recorded later and counted as unadmitted.
Nothing goes on in the scope of a kill that is known.
"""


def page() -> str:
    """The page, as Markdown."""
    found = fields()
    parts = ["## Example", md.code(EXAMPLE.strip(), "toml"), "## name", _table(list(found[:1]))]
    for section, group in groupby(found[1:], key=lambda field: field.path[0]):
        parts += [f"## {section}", SECTIONS[section], _table(list(group))]
        if section in EXAMPLES:
            parts.append(md.code(EXAMPLES[section], "toml"))
    unreachable = DEFAULT.unreachable.model_dump()
    return md.page("Policy", INTRO.strip(), *parts, UNREACHABLE.strip().format(**unreachable))


def _table(group: list[Field]) -> str:
    return md.table(
        ["field", "default", "may be", "means"],
        [
            [
                md.mono(field.name),
                md.mono(json.dumps(field.default)) if field.default is not None else "as above it",
                _allowed(field),
                described(field),
            ]
            for field in group
        ],
    )


def _allowed(field: Field) -> str:
    if field.choices:
        return " or ".join(f"`{choice}`" for choice in field.choices)
    if field.kind != "integer":
        return field.allowed
    if field.maximum == 2**53 - 1:
        return f"{field.minimum} or more"
    return f"{field.minimum:,} to {field.maximum:,}"
