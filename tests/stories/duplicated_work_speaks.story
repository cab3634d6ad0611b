# Four agents make the same search, and two are given the same task, once with a capital and a
# full stop. Scripted.
---
0       root starts
1       root spawns a: find the three newest papers on graph databases
2       root spawns b: summarise the budget of last year
3       root spawns c: Find the three newest papers on graph databases.
        ! duplicated_work c info key=1f87f0b9c78645 first=a what=task agents=2
4       a calls search q=graph -> 10 hits
5       b calls search q=graph -> 10 hits
        ! duplicated_work b info key=f16e8e8552b3e first=a what=search agents=2
6       c calls search q=graph -> 10 hits
        ! duplicated_work c warning key=f16e8e8552b3e first=a what=search agents=3
7       root calls search q=graph -> 10 hits
