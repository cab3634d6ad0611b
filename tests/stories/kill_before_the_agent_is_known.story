# The order is faster than the first word of whom it names. Scripted.
---
0       root starts
1       ops orders o1: kill late and below
2       root spawns late
3       late spawns later
4       late asks to call search q=1
        > deny order.kill
5       later asks to call search q=1
        > deny order.kill
6       root asks to call search q=1
        > allow
