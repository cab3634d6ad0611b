"""`python -m tests.histories`: record what has no history of this version yet; edits nothing."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from ledger import wire
from ledger.core.lifecycle import FOLD_VERSION
from tests.histories.recipes import RECIPES

HERE = Path(__file__).parent


def main() -> int:
    """0."""
    for name, recipe in RECIPES.items():
        path = HERE / f"{name}.{FOLD_VERSION}.jsonl"
        if path.exists():
            continue
        lines = [
            b'{"offset":%d,"append_ms":%d,"event":%s,"verdict":%s}\n'
            % (
                record.offset,
                record.append_ms,
                wire.encode(record.event),
                b"null" if verdict is None else wire.encode_verdict(verdict),
            )
            for record, verdict in recipe()
        ]
        path.write_bytes(b"".join(lines))
        with (HERE / "SHA256SUMS").open("a") as sums:
            sums.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
        sys.stdout.write(f"recorded {path.name}: {len(lines)} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
