"""`ledger policy`: check a policy file, show what holds, print its identity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import complain, say
from ledger.cli.place import place

if TYPE_CHECKING:
    from ledger.core.policy import Policy

app = typer.Typer(
    name="policy",
    help="Check a policy file, show what it says, print its digest.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[
    Path | None,
    typer.Argument(help="A TOML file; without one, what --policy names, or the default."),
]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.add_typer(app)


@app.command(epilog=example("ledger policy check policy.toml"))
def check(
    files: Annotated[list[Path], typer.Argument(help="TOML files.", metavar="FILE...")],
) -> None:
    """Check policy files: exit 1 with line, field, value and what is allowed, for each mistake.

    Prints the digest of a file that is right. A note is no mistake: the file is valid, and
    probably not what was meant.
    """
    from ledger import policy_file

    wrong = False
    for file in files:
        try:
            policy = policy_file.load(file)
        except policy_file.PolicyFileWrong as problem:
            wrong = True
            complain(str(problem))
            continue
        say(f"{file}: fine, digest {policy.digest}")
        for note in policy_file.notes(policy):
            say(f"{file}: note: {note}")
    if wrong:
        raise typer.Exit(1)


@app.command(epilog=example("ledger policy show > policy.toml"))
def show(context: typer.Context, file: File = None) -> None:
    """Print a policy as a complete TOML file: every field, its value, what it means.

    A field that differs from the default says so. What is printed is a policy file.
    """
    from ledger import policy_text

    print(policy_text.toml(_named(context, file)), end="")


@app.command(epilog=example("ledger policy digest policy.toml"))
def digest(context: typer.Context, file: File = None) -> None:
    """Print the digest of a policy: the name under which a run pins it.

    Two files that mean the same have the same digest, whatever their comments and order.
    """
    print(_named(context, file).digest)


def _named(context: typer.Context, file: Path | None) -> Policy:
    from ledger import policy_file

    return place(context).load_policy() if file is None else policy_file.load(file)
