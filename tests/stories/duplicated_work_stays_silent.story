# Different searches, different tasks, and an agent that asks twice itself. Scripted.
---
0       root starts
1       root spawns a: find papers on graph databases
2       root spawns b: summarise the budget of last year
3       a calls search q=graph -> 10 hits
4       b calls search q=budget -> 2 hits
5       a calls search q=graph -> 10 hits
6       b calls fetch q=graph -> a page
