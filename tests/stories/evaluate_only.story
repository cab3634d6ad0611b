# A new rule on trial: it says what it would have done, and does nothing. Scripted.
[agent]
open_children_max = 1
[findings.runaway_fan_out]
mode = "evaluate_only"
---
0       root starts
1..4    root spawns a{n} if it may
       [1] > allow
       [2] > allow
       [2] > would deny agent.open_children_max
       [2] ! runaway_fan_out root warning limit=agent.open_children_max open=1 live=2 ever=2 refused=1 refused_in_run=1
       [3] > allow
       [3] > would deny agent.open_children_max
       [3] ! runaway_fan_out root warning limit=agent.open_children_max open=2 live=3 ever=3 refused=2 refused_in_run=2
       [4] > allow
       [4] > would deny agent.open_children_max
