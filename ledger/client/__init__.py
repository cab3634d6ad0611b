"""The client: what an agent's process uses to record, to ask before acting, and to be stopped.

What a newcomer would get wrong
    From the outside in: `connect` (Ledger), `agent`, `calls`, `work` (contexts), `decorators`;
    `admission` (how an act is decided), `leases`, `orders`, `verdicts`; `queue` (what is on its
    way to the log), `engine` (all of it, for one process), `listener` (its second thread).
    Nothing here judges: the client spends what the judge granted, and stops when told.
"""
