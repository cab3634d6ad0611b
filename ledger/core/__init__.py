"""The pure core: everything we conclude about a run is a function of its events and its policy.

No I/O, no clock, no randomness, no logging, no asyncio. `fold` may change `state` in place,
and nothing else: same arguments, same answer.
"""
