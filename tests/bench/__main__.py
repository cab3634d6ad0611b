"""Run benchmarks: `python -m tests.bench [NAME...]` prints one JSON line a figure.

A figure has `figure`, `value`, `unit`, and `baseline` with `ratio` where there is one. Modules
are found by their names; each has `figures()`, which yields a figure as soon as it is measured.
Without a name all run, each in a process of its own, so that none warms the next one's caches.
"""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import tests.bench


def main(names: list[str]) -> int:
    """Run these modules; 0, 1 when one failed, 2 for a name that is none."""
    known = sorted(found.name for found in pkgutil.iter_modules(tests.bench.__path__))
    known.remove("__main__")
    if wrong := [name for name in names if name not in known]:
        sys.stderr.write(f"no benchmark {wrong[0]!r}; there are: {', '.join(known)}\n")
        return 2
    if len(names) == 1:
        for figure in import_module(f"tests.bench.{names[0]}").figures():
            sys.stdout.write(json.dumps(figure) + "\n")
            sys.stdout.flush()
        return 0
    codes = [
        subprocess.run([sys.executable, "-m", "tests.bench", name], check=False).returncode
        for name in names or known
    ]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
