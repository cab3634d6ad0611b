# One call, equal arguments, equal results: warned, critical, then refused. Scripted.
---
0       root starts
1..5    root calls search q=weather -> sunny
       [3] ! repeated_step root warning rounds=3 period=1 tool=search
       [5] ! repeated_step root critical rounds=5 period=1 tool=search
6       root asks to call search q=weather
        > deny findings.repeated_step.deny_repeats
7       root asks to call search q=news
        > allow
8       root calls search q=news -> nothing new
        ! repeated_step root over
