# A no-op loop of 6.5 hours that nothing could stop (anthropics/claude-code #73829). Scripted:
# after the fifth the call is refused, also six hours later.
---
0       root starts
1..5    root calls noop -> ok
       [3] ! repeated_step root warning rounds=3 period=1 tool=noop
       [5] ! repeated_step root critical rounds=5 period=1 tool=noop
6..20   root asks to call noop
   [6..20] > deny findings.repeated_step.deny_repeats
6h      root asks to call noop
        > deny findings.repeated_step.deny_repeats
