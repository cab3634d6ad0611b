# A process is proved dead: its agents and its leases are over, the others go on. Scripted.
---
0       root starts
1       root spawns a in p2
2       a spawns b in p2
3       a takes a lease of 5 tool_calls
        > allow: 5 tool_calls
4       p2 is dead
5       a asks to call search q=1
        > deny agent
6       root spawns c if it may
        > allow
