"""The reference: pages made from the code, so that they cannot say anything else.

`ledger docs --write ledger/docs` writes them; `tests/test_docs.py` fails when one is stale, or
when an event, a field, a finding, a query, a view or a command is missing or has no example.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger.cli.reference import commands, events, findings, policy, queries, verdicts

PAGES: dict[str, Callable[[], str]] = {
    "commands": commands.page,
    "events": events.page,
    "findings": findings.page,
    "policy": policy.page,
    "queries": queries.page,
    "verdicts": verdicts.page,
}
"""The generated pages, by name."""


def write(folder: Path) -> list[Path]:
    """Write every page into `folder`, which must exist; the paths written. Raises OSError."""
    written = []
    for name, page in PAGES.items():
        path = folder / f"{name}.md"
        path.write_text(page())
        written.append(path)
    return written
