"""The page of commands: what each does, its arguments and options, examples."""
# ruff: noqa: E501 - prose has one sentence per line, however long.

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from ledger.cli.reference import markdown as md

INTRO = """
One command, `ledger`, for a person at a terminal and for scripts.

`--log`, `--archive` and `--policy` may stand before or after the command's name.
`--install-completion` installs completion for your shell.

On a terminal, rows are a table; piped, they are plain text, nothing cut off; `--json` gives one array of objects, `--csv` a header and rows.
Text that came from agents is shown with control characters escaped.
"""

EXIT_CODES = """
| code | means |
| --- | --- |
| 0 | fine |
| 1 | a check failed: a replay that differs, a policy that is wrong, an archive that is incomplete; or a bug in the ledger, which says so |
| 2 | wrong use (an unknown option, a missing file), or a ledger that cannot be used as asked (locked, foreign, full) |
| 130 | interrupted with Ctrl-C |

No traceback reaches you; `LEDGER_DEBUG=1` shows that of a bug.
"""


def page() -> str:
    """The page, as Markdown."""
    root = _root()
    listed = [(name, command) for name, command in walk() if name]
    return md.page(
        "Commands",
        INTRO.strip(),
        md.table(
            ["command", "what it does"],
            [[f"[`ledger {n}`](#ledger-{n.replace(' ', '-')})", _first(c)] for n, c in listed],
        ),
        "## Global options",
        _options(root),
        "## Exit codes",
        EXIT_CODES.strip(),
        *[_section(name, command) for name, command in listed],
    )


def walk() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name after `ledger`, in the order of help."""
    for name, command in _root().commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", found) for sub, found in inner.items())


def examples(command: Any) -> list[str]:
    """The example command lines of a command, as its help shows them."""
    lines = inspect.cleandoc(command.epilog or "").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines if line.strip().startswith("$ ")]


def _root() -> Any:
    from ledger.cli.app import app

    return get_command(app)


def _first(command: Any) -> str:
    return inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")


def _section(name: str, command: Any) -> str:
    parts = [f"## ledger {name}", md.prose(inspect.cleandoc(command.help or "").replace("\b", ""))]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if arguments:
        rows = [[md.mono(_metavar(p)), p.help or ""] for p in arguments]
        parts.append(md.table(["argument", "means"], rows))
    parts.append(_options(command))
    shown = "\n".join(f"$ {example}" for example in examples(command))
    parts.append(md.code(shown, "console"))
    return "\n\n".join(part for part in parts if part)


def _metavar(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _options(command: Any) -> str:
    rows = []
    for option in command.params:
        if option.param_type_name != "option" or option.name == "help":
            continue
        names = ", ".join([*option.opts, *option.secondary_opts])
        if not option.is_flag:
            names += f" {option.metavar or option.name.upper()}"
        environment = f" (`{option.envvar}`)" if option.envvar else ""
        default = option.default
        known = default not in (None, False, (), []) and not callable(default)
        said = f" Default: `{getattr(default, 'value', default)}`." if known else ""
        rows.append([md.mono(names), f"{option.help or ''}{said}{environment}"])
    return md.table(["option", "means"], rows) if rows else ""
