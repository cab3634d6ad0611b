"""`ledger docs`: the pages that came with this version; also writes the generated ones."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import Column, Form, complain, console, on_terminal, rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("ledger docs", "ledger docs queries"))(docs)


def docs(
    page: Annotated[str | None, typer.Argument(help="A page; without one, lists them.")] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the generated pages into this folder.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Show a page of the documentation of this version, or list the pages.

    On a terminal the page is drawn; piped it is Markdown.
    """
    if write is not None:
        from ledger.cli import reference

        for written in reference.write(write):
            print(written)
        return
    found = pages()
    if page is None:
        data = [(name, text.partition("\n")[0].lstrip("# ")) for name, text in found.items()]
        rows([Column("page"), Column("title")], data, Form.TABLE)
        return
    text = found.get(page.removesuffix(".md"))
    if text is None:
        complain(f"ledger: there is no page {page}; there are {', '.join(found)}")
        raise typer.Exit(2)
    if on_terminal():
        from rich.markdown import Markdown

        console().print(Markdown(text))
    else:
        print(text, end="")


def pages() -> dict[str, str]:
    """Every page by its name, as Markdown."""
    folder = files("ledger") / "docs"
    found = sorted(folder.iterdir(), key=lambda path: path.name)
    return {p.name.removesuffix(".md"): p.read_text() for p in found if p.name.endswith(".md")}
