"""A coordination ledger: decides before an agent acts, remembers everything, answers in SQL."""

__version__ = "0.1.0"
