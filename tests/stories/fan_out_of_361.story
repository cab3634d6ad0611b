# Five became more than 361, quota from 3 to 100 per cent in minutes (anthropics/claude-code
# #72566). Scripted: every child asks for children of its own.
---
0       root starts
1..5    root spawns a{n} if it may
    [1..5] > allow
6..12   a1 spawns b{n} if it may
   [6..12] > allow
13..19  a2 spawns c{n} if it may
  [13..19] > allow
20..26  a3 spawns d{n} if it may
  [20..23] > allow
      [24] > deny run.agents_live_max
      [24] ! runaway_fan_out a3 warning limit=run.agents_live_max open=4 live=24 ever=24 refused=1 refused_in_run=1
      [25] > deny run.agents_live_max
      [25] ! runaway_fan_out a3 warning limit=run.agents_live_max open=4 live=24 ever=24 refused=2 refused_in_run=2
      [26] > deny run.agents_live_max
27..60/70 a4 spawns e{n} if it may
       [1] > deny run.agents_live_max
       [1] ! runaway_fan_out a4 warning limit=run.agents_live_max open=0 live=24 ever=24 refused=1 refused_in_run=4
       [2] > deny run.agents_live_max
       [2] ! runaway_fan_out a4 warning limit=run.agents_live_max open=0 live=24 ever=24 refused=2 refused_in_run=5
       [3] > deny run.agents_live_max
       [4] > deny run.agents_live_max
       [4] ! runaway_fan_out a4 warning limit=run.agents_live_max open=0 live=24 ever=24 refused=4 refused_in_run=7
    [5..7] > deny run.agents_live_max
       [8] > deny run.agents_live_max
       [8] ! runaway_fan_out a4 warning limit=run.agents_live_max open=0 live=24 ever=24 refused=8 refused_in_run=11
   [9..15] > deny run.agents_live_max
      [16] > deny run.agents_live_max
      [16] ! runaway_fan_out a4 warning limit=run.agents_live_max open=0 live=24 ever=24 refused=16 refused_in_run=19
  [17..28] > deny run.agents_live_max
      [29] > deny run.agents_live_max
      [29] ! runaway_fan_out a4 critical limit=run.agents_live_max open=0 live=24 ever=24 refused=29 refused_in_run=32
      [29] x kill run
  [30..70] > deny order.kill
