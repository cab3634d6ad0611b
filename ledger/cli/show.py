"""`ledger show RUN`: what went wrong at a glance, then the spawn tree with budgets and states."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.cli.asking import catalog, find_run
from ledger.cli.examples import example
from ledger.cli.output import one_json, say
from ledger.cli.place import place


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example("ledger show last", "ledger show 0199c0de", "ledger show last --json")
    )(show)


def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run, or how its id begins; `last`: the latest.")],
    everybody: Annotated[
        bool, typer.Option("--all", help="Draw every agent, sum up nobody.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one object.")] = False,
) -> None:
    """Draw a run: what went wrong, orders and their receipts, the spawn tree with every budget.

    A line of the tree is an agent: its state, calls, tokens and cost of its own, how much is left
    of its scarcest budget, how often it was refused, and what was found of it.
    """
    from ledger.cli import drawing
    from ledger.cli.story import tell

    with catalog(place(context)) as opened:
        told = tell(opened, find_run(opened, run))
    if as_json:
        one_json(drawing.as_dict(told))
        return
    drawing.head(told)
    drawing.wrong(told)
    say()
    drawing.tree(told, everybody=everybody)
