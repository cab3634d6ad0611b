# A pause stops everything and says when to ask again; a drain lets what there is finish. Scripted.
[lease]
spawns = 5
---
0       root starts
1       ops orders o1: pause the run
2       root asks to call search q=1
        > deny order.pause
3       ops orders o2: resume the run
4       root asks to call search q=1
        > allow
5       ops orders o3: drain the run
6       root asks to spawn a
        > deny order.drain
7       root asks to call search q=2
        > allow
8       root takes a lease of 5 spawns, 5 tool_calls
        > transform order.drain: 5 tool_calls
