# A job that stays queued: who waits as the refusal says may look again, each time after twice
# the wait; and what is new in the answer ends it. Scripted.
---
0       root starts
1..5    root calls status job=3 -> queued
       [3] ! repeated_step root warning rounds=3 period=1 tool=status
       [5] ! repeated_step root critical rounds=5 period=1 tool=status
64      root asks to call status job=3
        > deny findings.repeated_step.deny_repeats
65      root asks to call status job=3
        > allow
65      root calls status job=3 -> queued
184     root asks to call status job=3
        > deny findings.repeated_step.deny_repeats
185     root asks to call status job=3
        > allow
185     root calls status job=3 -> done
        ! repeated_step root over
