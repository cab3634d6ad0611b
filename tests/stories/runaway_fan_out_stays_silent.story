# A wide batch that drains: never more than three at once, eight in all. Scripted.
[agent]
open_children_max = 3
---
0       root starts
1..3    root spawns a{n} if it may
    [1..3] > allow
4       a1 ends
4       a2 ends
5..6    root spawns a{n} if it may
    [5..6] > allow
7       a3 ends
7       a5 ends
8..9    root spawns a{n} if it may
    [8..9] > allow
10      a6 ends
11      root spawns a11 if it may
        > allow
