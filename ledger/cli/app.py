"""The command line as a whole: its global options, its commands, and how it ends.

What a newcomer would get wrong
    `--log`, `--archive` and `--policy` may stand before or after the command.
    Whatever goes wrong ends here: wrong use and a broken world with a sentence and code 2, a
    check that failed with code 1, a bug with a sentence that asks for a report and code 1.
    `LEDGER_DEBUG=1` shows the traceback of a bug.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ledger import __version__
from ledger.cli import place
from ledger.cli.output import complain
from ledger.errors import LedgerError

GLOBAL_OPTIONS = ("--log", "--archive", "--policy")
INTERRUPTED = 130

EPILOG = """
Exit codes: 0 fine; 1 a check failed (a replay that differs, a policy that is wrong, an archive
that is incomplete) or a bug, which says so; 2 wrong use, or a ledger that cannot be used as
asked (missing, locked, foreign, full); 130 interrupted.
"""


PANELS = {
    "Run": "up demo import",
    "Look": "runs show findings refused tail",
    "Stop": "kill pause resume",
    "Ask": "sql query",
    "Prove": "replay simulate archive",
    "Kafka": "topics worker",
    "Set up": "policy schema docs",
}
"""How the help groups the commands."""


class Root(TyperGroup):
    """The group of all commands: moves global options to the front, and catches what goes wrong."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands in groups."""
        for title, names in PANELS.items():
            commands = [(name, self.commands[name]) for name in names.split()]
            lines = [(f"{name:<9}", first_line(command)) for name, command in commands]
            with formatter.section(title):
                formatter.write_dl(lines)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; global options count wherever they stand before `--`."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; no traceback reaches a user."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough. The interpreter would complain once more
            # when it flushes at the end, so give it somewhere to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, SystemExit, EOFError):
            raise
        except LedgerError as problem:
            complain(f"ledger: {problem}")
            raise typer.Exit(2) from None
        except Exception as problem:
            # Usage errors are typer's own; it prints them and exits with 2.
            if hasattr(problem, "exit_code"):
                raise
            _bug(problem)
            raise typer.Exit(1) from None
        return answer


def first_line(command: Any) -> str:
    """What a command does, in its first sentence."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return text.partition(": ")[0].rstrip(".") + "."


def _bug(problem: Exception) -> None:
    if os.environ.get("LEDGER_DEBUG"):
        traceback.print_exception(problem)
    what = " ".join(f"{type(problem).__name__}: {problem}".split())
    complain(
        f"ledger: this is a bug in the ledger ({what[:300]}); please report it with the command "
        f"you gave; LEDGER_DEBUG=1 shows where it happened (ledger {__version__})"
    )


def hoisted(args: list[str]) -> list[str]:
    """The arguments with the global options first."""
    front: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for arg in left:
        if arg == "--":
            return [*front, *rest, arg, *left]
        if arg in GLOBAL_OPTIONS:
            front += [arg, *[value for value in [next(left, None)] if value is not None]]
        elif arg.startswith(tuple(f"{option}=" for option in GLOBAL_OPTIONS)):
            front.append(arg)
        else:
            rest.append(arg)
    return front + rest


app = typer.Typer(
    name="ledger",
    cls=Root,
    help="A coordination ledger: decides before an agent acts, remembers, answers in SQL.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ledger {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    log: Annotated[
        str,
        typer.Option(
            envvar="LEDGER_LOG", help="The log: a file, or kafka://host:9092.", metavar="PATH"
        ),
    ] = "ledger.db",
    archive: Annotated[
        str | None,
        typer.Option(
            envvar="LEDGER_ARCHIVE", help="The archive; beside the log by default.", metavar="PATH"
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(envvar="LEDGER_POLICY", help="A policy file (TOML).", metavar="FILE"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A coordination ledger: decides before an agent acts, remembers, answers in SQL."""
    context.obj = place.make(log, archive, policy)


from ledger.cli import (  # noqa: E402 - they register themselves here.
    archive,
    ask,
    demo,
    docs,
    imports,
    orders,
    policy,
    refused,
    replay,
    runs,
    schema,
    show,
    simulate,
    tail,
    topics,
    up,
    worker,
)

for _module in (
    up, demo, imports, runs, show, refused, tail, orders, ask, replay, simulate, policy, schema,
    archive, topics, worker, docs,
):  # fmt: skip
    _module.register(app)
