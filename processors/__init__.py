"""The Faust workers, installed as `ledger.processors`: wiring only, no rule lives here."""
