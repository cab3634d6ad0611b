# One became 48, four agents on the same API (anthropics/claude-code #68110). Scripted.
---
0       root starts
1..4    root spawns a{n} if it may: work {n}
    [1..4] > allow
5       a1 calls api path=/users -> 200
6       a2 calls api path=/users -> 200
        ! duplicated_work a2 info key=cafd426249008 first=a1 what=api agents=2
7       a3 calls api path=/users -> 200
        ! duplicated_work a3 warning key=cafd426249008 first=a1 what=api agents=3
8       a4 calls api path=/users -> 200
9..52   root spawns b{n} if it may: work {n}
   [9..12] > allow
      [13] > deny agent.open_children_max
      [13] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=1 refused_in_run=1
      [14] > deny agent.open_children_max
      [14] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=2 refused_in_run=2
      [15] > deny agent.open_children_max
      [16] > deny agent.open_children_max
      [16] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=4 refused_in_run=4
  [17..19] > deny agent.open_children_max
      [20] > deny agent.open_children_max
      [20] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=8 refused_in_run=4
  [21..27] > deny agent.open_children_max
      [28] > deny agent.open_children_max
      [28] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=16 refused_in_run=4
  [29..43] > deny agent.open_children_max
      [44] > deny agent.open_children_max
      [44] ! runaway_fan_out root warning limit=agent.open_children_max open=8 live=9 ever=9 refused=32 refused_in_run=4
  [45..52] > deny agent.open_children_max
