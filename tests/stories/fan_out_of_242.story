# Two calls became 242 agents in five minutes: 2, 17, 16, then 188 in one minute
# (anthropics/claude-code #69332). Scripted: the same numbers under the default policy.
---
0       root starts
1..2    root spawns wave1-{n} if it may
    [1..2] > allow
60..119/17 wave1-1 spawns wave2-{n} if it may
    [1..8] > allow
       [9] > deny agent.open_children_max
       [9] ! runaway_fan_out wave1-1 warning limit=agent.open_children_max open=8 live=11 ever=11 refused=1 refused_in_run=1
      [10] > deny agent.open_children_max
      [10] ! runaway_fan_out wave1-1 warning limit=agent.open_children_max open=8 live=11 ever=11 refused=2 refused_in_run=2
      [11] > deny agent.open_children_max
      [12] > deny agent.open_children_max
      [12] ! runaway_fan_out wave1-1 warning limit=agent.open_children_max open=8 live=11 ever=11 refused=4 refused_in_run=4
  [13..15] > deny agent.open_children_max
      [16] > deny agent.open_children_max
      [16] ! runaway_fan_out wave1-1 warning limit=agent.open_children_max open=8 live=11 ever=11 refused=8 refused_in_run=4
      [17] > deny agent.open_children_max
120..179/16 wave1-2 spawns wave3-{n} if it may
    [1..8] > allow
       [9] > deny agent.open_children_max
       [9] ! runaway_fan_out wave1-2 warning limit=agent.open_children_max open=8 live=19 ever=19 refused=1 refused_in_run=5
      [10] > deny agent.open_children_max
      [10] ! runaway_fan_out wave1-2 warning limit=agent.open_children_max open=8 live=19 ever=19 refused=2 refused_in_run=6
      [11] > deny agent.open_children_max
      [12] > deny agent.open_children_max
      [12] ! runaway_fan_out wave1-2 warning limit=agent.open_children_max open=8 live=19 ever=19 refused=4 refused_in_run=8
  [13..15] > deny agent.open_children_max
      [16] > deny agent.open_children_max
      [16] ! runaway_fan_out wave1-2 warning limit=agent.open_children_max open=8 live=19 ever=19 refused=8 refused_in_run=8
180..239/188 wave2-1 spawns wave4-{n} if it may
    [1..5] > allow
       [6] > deny run.agents_live_max
       [6] ! runaway_fan_out wave2-1 warning limit=run.agents_live_max open=5 live=24 ever=24 refused=1 refused_in_run=9
       [7] > deny run.agents_live_max
       [7] ! runaway_fan_out wave2-1 warning limit=run.agents_live_max open=5 live=24 ever=24 refused=2 refused_in_run=10
       [8] > deny run.agents_live_max
       [9] > deny run.agents_live_max
       [9] ! runaway_fan_out wave2-1 warning limit=run.agents_live_max open=5 live=24 ever=24 refused=4 refused_in_run=12
  [10..12] > deny run.agents_live_max
      [13] > deny run.agents_live_max
      [13] ! runaway_fan_out wave2-1 warning limit=run.agents_live_max open=5 live=24 ever=24 refused=8 refused_in_run=16
  [14..20] > deny run.agents_live_max
      [21] > deny run.agents_live_max
      [21] ! runaway_fan_out wave2-1 warning limit=run.agents_live_max open=5 live=24 ever=24 refused=16 refused_in_run=24
  [22..28] > deny run.agents_live_max
      [29] > deny run.agents_live_max
      [29] ! runaway_fan_out wave2-1 critical limit=run.agents_live_max open=5 live=24 ever=24 refused=24 refused_in_run=32
      [29] x kill run
 [30..188] > deny order.kill
240     root asks to call search q=anything
        > deny order.kill
