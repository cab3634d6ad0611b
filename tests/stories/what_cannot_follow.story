# Events that cannot follow what came before are refused, with a reason, and change nothing.
# Scripted.
---
0       root starts
1       root spawns a
2       root spawns a
        - agent a has started already; an agent has one parent at most
3       root asks to spawn a
        - agent a exists already in run r
4       ops orders o1: pause the run
5       ops orders o1: resume the run
        - order o1 was given already
6       a accepts h1
        - handoff h1 is not open
7       root hands h1 to a: the report
8       a accepts h1
9       a gives back h1
10      a refuses h1
        - handoff h1 is not open
11      root plans p1: the report
12      a declares c1: cite every source
13      a produces report
14      root verifies report
15      a ends
16      a asks to call search q=1
        > deny agent
17      the run ends
18      root asks to call search q=1
        > deny run
