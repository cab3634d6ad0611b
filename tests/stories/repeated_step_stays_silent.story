# Polling a job that moves, the same call by different agents, and calls whose arguments are
# much alike: no cycle. Scripted.
[findings.duplicated_work]
warn_agents = 10
---
0       root starts
1..9    root calls status job=7 -> {n} per cent
10..19  root calls read page={n} -> text
20      root calls list dir=src -> 3 files
21      root spawns a
22      a calls list dir=docs -> 3 files
23      root calls list dir=src -> 4 files
24      root calls list dir=src -> 4 files
