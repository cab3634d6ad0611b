"""What goes wrong in the world around the ledger.

Each error names the thing, shows the value, and says what to do.
"""


class LedgerError(Exception):
    """A broken world (a bad file, a lost log), never an expected answer."""
