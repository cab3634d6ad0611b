"""The command `ledger`: what a person at a terminal, or a script, asks of a ledger.

The only package that imports typer and rich. A command imports what it needs when it runs, so
that `ledger --help` and `ledger kill` load neither DuckDB nor Delta.
"""

import sys


def main() -> None:
    """Run the command line of this process; exits with its code (0, 1, 2, or 130 for Ctrl-C)."""
    try:
        from ledger.cli.app import app

        app(prog_name="ledger")
    except KeyboardInterrupt:
        sys.exit(130)
