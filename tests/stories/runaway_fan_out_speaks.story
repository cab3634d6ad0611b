# An agent opens children faster than they finish. Scripted.
[agent]
open_children_max = 3
---
0       root starts
1..3    root spawns a{n} if it may
    [1..3] > allow
4..9    root asks to spawn a{n}: one more
       [4] > deny agent.open_children_max
       [4] ! runaway_fan_out root warning limit=agent.open_children_max open=3 live=4 ever=4 refused=1 refused_in_run=1
       [5] > deny agent.open_children_max
       [5] ! runaway_fan_out root warning limit=agent.open_children_max open=3 live=4 ever=4 refused=2 refused_in_run=2
       [6] > deny agent.open_children_max
       [7] > deny agent.open_children_max
       [7] ! runaway_fan_out root warning limit=agent.open_children_max open=3 live=4 ever=4 refused=4 refused_in_run=4
    [8..9] > deny agent.open_children_max
# Enough of them end: what was said is over.
10      a1 ends
11      a2 ends
        ! runaway_fan_out root over
