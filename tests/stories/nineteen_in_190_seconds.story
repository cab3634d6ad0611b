# 19 spawns in 190 s, smallest gap 0.4 s, three of them authorised (WingedGuardian/GENesis-AGI
# #1658). Scripted.
[agent]
children_max = 3
---
0       root starts
0..190/19 root spawns a{n} if it may
    [1..3] > allow
       [4] > deny agent.children_max
       [4] ! runaway_fan_out root warning limit=agent.children_max open=3 live=4 ever=4 refused=1 refused_in_run=1
       [5] > deny agent.children_max
       [5] ! runaway_fan_out root warning limit=agent.children_max open=3 live=4 ever=4 refused=2 refused_in_run=2
       [6] > deny agent.children_max
       [7] > deny agent.children_max
       [7] ! runaway_fan_out root warning limit=agent.children_max open=3 live=4 ever=4 refused=4 refused_in_run=4
   [8..10] > deny agent.children_max
      [11] > deny agent.children_max
      [11] ! runaway_fan_out root warning limit=agent.children_max open=3 live=4 ever=4 refused=8 refused_in_run=8
  [12..18] > deny agent.children_max
      [19] > deny agent.children_max
      [19] ! runaway_fan_out root warning limit=agent.children_max open=3 live=4 ever=4 refused=16 refused_in_run=16
