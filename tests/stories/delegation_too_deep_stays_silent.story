# Deep as the policy allows, and wide: four levels, each agent with its own. Scripted.
[run]
depth_max = 3
---
0       root starts: write the report
1       root spawns a if it may: chapter one
        > allow
2       a spawns b if it may: sources of chapter one
        > allow
3       b spawns c if it may: one source
        > allow
4       root spawns k if it may: chapter two
        > allow
5       k spawns l if it may: sources of chapter two
        > allow
6       l spawns m if it may: another source
        > allow
