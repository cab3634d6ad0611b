"""The house rules, as functions from source text to complaints.

A rule takes one `Source` and yields a line for each thing wrong with it. It knows from the path
whether it applies, so all rules run over all files. They read the syntax tree and import nothing:
a file that breaks a rule may also be one that cannot be imported.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[1]

# `import x` makes x the business of one place. A prefix of paths, relative to the top level.
OWNERS = {
    "aiokafka": ("ledger/log/kafka",),
    "apsw": ("ledger/log/sqlite",),
    "deltalake": ("ledger/archive", "ledger/catalog"),
    "duckdb": ("ledger/archive", "ledger/catalog"),
    "faust": ("processors/",),
    "genai_prices": ("ledger/prices.py",),
    "ledger.processors": ("processors/",),
    "prometheus_client": ("processors/",),
    "pyarrow": ("ledger/archive", "ledger/catalog"),
    "rich": ("ledger/cli/",),
    "typer": ("ledger/cli/",),
}

CORE = "ledger/core/"
CORE_MAY_IMPORT = frozenset(
    """
    __future__ annotated_types array base64 bisect collections dataclasses enum functools hashlib
    heapq itertools json ledger.core math operator pydantic pydantic_core re string struct tomllib
    types typing unicodedata
    """.split()
)
# `hash` and `id` differ from one process to the next, so a replay would too.
CORE_MAY_NOT_CALL = frozenset("open print input eval exec compile breakpoint hash id".split())

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

TOP_LEVEL = frozenset(
    """
    pyproject.toml README.md docker-compose.yml ledger processors queries tests infra LICENSE
    CHANGELOG.md Makefile requirements.lock
    """.split()
)

# Put together here, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~$})-])/(?:" + "|".join(["work", "root", "home"]) + r")/")
REGISTRY = re.compile(
    "|".join(re.escape(name + ".org") for name in ("pypi", "pythonhosted"))
    + r"|index-url[= ]+\S+:/"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path from the top level, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def at(self, node: ast.AST, complaint: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {complaint}"


Rule: TypeAlias = Callable[[Source], Iterator[str]]


def parse(path: str, text: str) -> Source:
    """Make a Source; `path` decides which rules apply."""
    return Source(path, text, ast.parse(text, path))


def sources() -> Iterator[Source]:
    """Every Python file of ours. rglob follows no links, so nothing comes twice."""
    for folder in ("ledger", "processors", "queries", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield parse(path.relative_to(ROOT).as_posix(), path.read_text())


def imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Each import as an absolute dotted name, wherever it stands, with its node.

    `from a import b` yields a.b, because b may be a module.
    """
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                yield from ((node, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join(filter(None, [_package(source.path, level), module]))
                yield from ((node, f"{base}.{alias.name}") for alias in names)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _called(node) in (
                "import_module",
                "__import__",
            ):
                yield node, name


def core_is_pure(source: Source) -> Iterator[str]:
    """The fold gives the same answer anywhere: no I/O, clock, chance, or hidden state."""
    if not source.path.startswith(CORE):
        return
    for node, name in imports(source):
        if not any(_within(name, allowed) for allowed in CORE_MAY_IMPORT):
            yield source.at(node, f"the core may not import {name}")
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in CORE_MAY_NOT_CALL:
                yield source.at(node, f"the core may not call {name}()")
            case ast.Global() | ast.Nonlocal():
                yield source.at(node, "state lives in `State`, not in a variable outside")
            case ast.For(iter=bag) | ast.comprehension(iter=bag) if _is_set(bag):
                yield source.at(bag, "the order of a set differs between processes; sort it")


def core_has_no_floats(source: Source) -> Iterator[str]:
    """Floats round differently along different ways; a decision may not."""
    if not source.path.startswith(CORE):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Constant(value=float()) | ast.Name(id="float"):
                yield source.at(node, "no floats in a decision")
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield source.at(node, "`/` makes a float; use `//` or compare products")


def dependencies_have_one_owner(source: Source) -> Iterator[str]:
    """What only one place imports can be replaced in one place, and stays out of agents."""
    if source.path.startswith("tests/"):
        return
    for node, name in imports(source):
        for owned, places in OWNERS.items():
            if _within(name, owned) and not source.path.startswith(places):
                yield source.at(node, f"only {' and '.join(places)} may import {owned}")


def processors_has_one_name(source: Source) -> Iterator[str]:
    """Imported by both its names, a module would exist twice, each with its own state."""
    for node, name in imports(source):
        if _within(name, "processors"):
            yield source.at(node, "its name is ledger.processors")


def files_are_short(source: Source) -> Iterator[str]:
    """Past this a file has two subjects."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"{source.path}: {lines} lines; the limit is {FILE_LINES_MAX}. Find the missing noun"


def functions_are_short(source: Source) -> Iterator[str]:
    """Past this a function has a part that wants a name."""
    if source.path.startswith("tests/"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield source.at(node, f"{node.name} has {lines} lines of {FUNCTION_LINES_MAX}")


def everything_public_is_documented(source: Source) -> Iterator[str]:
    """A module's first line says what it is for; so does that of each public name in it."""
    if len(_first_line(source.tree).split()) < 3:
        yield f"{source.path}:1: the first line says what the module is for"
    if source.path.startswith("tests/"):
        return
    for node in source.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        overload = any(_last_name(d) == "overload" for d in node.decorator_list)
        if not (node.name.startswith("_") or overload or _first_line(node)):
            yield source.at(node, f"{node.name} is public and has no docstring")


def tests_do_not_sleep(source: Source) -> Iterator[str]:
    """A sleep is too short on a busy machine and too long on every other."""
    if not source.path.startswith("tests/") or source.path == "tests/waiting.py":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called(node) == "sleep":
            yield source.at(node, "wait for a condition: tests.waiting.wait_for")


def tests_do_not_mock(source: Source) -> Iterator[str]:
    """The core has nothing to mock; a mock would only repeat what the test believes."""
    if not source.path.startswith("tests/"):
        return
    core = set()
    for node, name in imports(source):
        if any(_within(name, mock) for mock in ("unittest.mock", "mock", "pytest_mock")):
            yield source.at(node, f"no mocks: {name}")
        if _within(name, "ledger.core"):
            core.add(name.rsplit(".", 1)[-1])
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called(node) == "setattr" and node.args:
            target = ast.unparse(node.args[0])
            if "ledger.core" in target or target.split(".")[0] in core:
                yield source.at(node, f"the core is not patched: {target}")


def nothing_is_pickled(source: Source) -> Iterator[str]:
    """Unpickling runs what the bytes say, and ties them to the code that wrote them."""
    for node, name in imports(source):
        if name.split(".")[0] in {"pickle", "cPickle", "dill", "marshal", "shelve"}:
            yield source.at(node, f"write JSON instead of using {name}")


def queries_hold_no_python(source: Source) -> Iterator[str]:
    """A question is one `select`; what needs Python belongs to the catalog."""
    if source.path.startswith("queries/"):
        yield f"{source.path}: queries/ holds .sql files only"


RULES: tuple[Rule, ...] = (
    core_is_pure,
    core_has_no_floats,
    dependencies_have_one_owner,
    processors_has_one_name,
    files_are_short,
    functions_are_short,
    everything_public_is_documented,
    tests_do_not_sleep,
    tests_do_not_mock,
    nothing_is_pickled,
    queries_hold_no_python,
)


def strangers_at_the_top(paths: list[str]) -> list[str]:
    """Names at the top level that are not in its fixed list. Tools own the dotted ones."""
    tops = {path.split("/")[0] for path in paths}
    return sorted(top for top in tops - TOP_LEVEL if not top.startswith("."))


def private_addresses(path: str, text: str) -> Iterator[str]:
    """Places that exist on one machine or in one network: machine paths, package registries."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, what in ((MACHINE_PATH, "machine path"), (REGISTRY, "registry")):
            if pattern.search(line):
                yield f"{path}:{number}: {what}"


def _package(path: str, level: int) -> str:
    """The package that a relative import of that many dots starts from; "" when absolute."""
    if not level:
        return ""
    parts = path.removesuffix(".py").split("/")
    if parts[0] == "processors":
        parts.insert(0, "ledger")
    return ".".join(parts[:-level])


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _called(node: ast.Call) -> str:
    return _last_name(node.func)


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return isinstance(node, ast.Set | ast.SetComp)


def _first_line(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0].strip()
