# Three agents were asked for, 24 ran, 80.8 % of 897,000 tokens wasted (anthropics/claude-code
# #82565). Scripted: what the human asked for is the policy.
[run]
agents_max = 4
---
0       root starts
1..3    root spawns asked{n} if it may: part {n} of the review
    [1..3] > allow
4..24   root spawns more{n} if it may: part {n} of the review
       [4] > deny run.agents_max
       [4] ! runaway_fan_out root warning limit=run.agents_max open=3 live=4 ever=4 refused=1 refused_in_run=1
       [5] > deny run.agents_max
       [5] ! runaway_fan_out root warning limit=run.agents_max open=3 live=4 ever=4 refused=2 refused_in_run=2
       [6] > deny run.agents_max
       [7] > deny run.agents_max
       [7] ! runaway_fan_out root warning limit=run.agents_max open=3 live=4 ever=4 refused=4 refused_in_run=4
   [8..10] > deny run.agents_max
      [11] > deny run.agents_max
      [11] ! runaway_fan_out root warning limit=run.agents_max open=3 live=4 ever=4 refused=8 refused_in_run=8
  [12..18] > deny run.agents_max
      [19] > deny run.agents_max
      [19] ! runaway_fan_out root warning limit=run.agents_max open=3 live=4 ever=4 refused=16 refused_in_run=16
  [20..24] > deny run.agents_max
