# Nobody is asked: the children are facts, counted all the same, and it is said. Scripted.
[agent]
open_children_max = 2
---
0       root starts
1..6    root spawns a{n}
       [3] ! runaway_fan_out root warning open=3 live=4 over=1
       [4] ! runaway_fan_out root critical open=4 live=5 over=2
       [4] x kill run
       [6] ! runaway_fan_out root critical open=6 live=7 over=4
7       root asks to spawn a7
        > deny order.kill
