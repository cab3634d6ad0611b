# A no-op loop of 6.5 hours that nothing could stop (anthropics/claude-code #73829). Scripted:
# after the fifth the call is refused; six hours later it may look once, and is refused again.
---
0       root starts
1..5    root calls noop -> ok
       [3] ! repeated_step root warning rounds=3 period=1 tool=noop
       [5] ! repeated_step root critical rounds=5 period=1 tool=noop
6..20   root asks to call noop
   [6..20] > deny findings.repeated_step.deny_repeats
6h      root asks to call noop
        > allow
6h      root calls noop -> ok
21601   root asks to call noop
        > deny findings.repeated_step.deny_repeats
