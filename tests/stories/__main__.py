"""`python -m tests.stories [--rewrite] [NAME…]`: the sentences, or the stories told anew.

`--rewrite` is for reading, not for passing: commit a rewritten story only when you can explain
each changed line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.stories.sentences import SENTENCES, readable
from tests.stories.story import StoryWrong, read

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """0; 1 when a story cannot be read; 2 for wrong use."""
    names = [name for name in arguments if name != "--rewrite"]
    if not arguments:
        sys.stdout.write("\n".join(map(readable, SENTENCES)) + "\n")
        return 0
    if "--rewrite" not in arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    for path in sorted(HERE.glob("*.story")):
        if not names or path.stem in names:
            try:
                text, _ = read(path).told()
            except StoryWrong as problem:
                sys.stderr.write(f"{problem}\n")
                return 1
            if text != path.read_text():
                path.write_text(text)
                sys.stdout.write(f"rewrote {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
