# A task handed down level by level; the fourth is refused, and tried again. Scripted.
[run]
depth_max = 3
---
0       root starts: write the report
1       root spawns a if it may: write the report
        > allow
2       a spawns b if it may: find the sources
        > allow
3       b spawns c if it may: read the sources
        > allow
4       c spawns d if it may: read the first source
        > deny run.depth_max
        ! delegation_too_deep c warning child=d depth=4 attempts=1
5..7    c asks to spawn d: read the first source
       [5] > deny run.depth_max
       [5] ! delegation_too_deep c warning child=d depth=4 attempts=2
       [6] > deny run.depth_max
       [7] > deny run.depth_max
       [7] ! delegation_too_deep c warning child=d depth=4 attempts=4
# Where nobody asked it is said all the same.
8       b spawns k: read the second source
9       k spawns l: read a part of it
        ! delegation_too_deep k warning child=l depth=4 attempts=1
