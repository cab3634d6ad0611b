# The policy refuses the second search, and says whose result to use. Scripted.
[findings.duplicated_work]
info = "deny"
---
0       root starts
1..2    root spawns a{n}
3       a1 calls search q=graph -> 10 hits
4       a2 asks to call search q=graph
        > deny findings.duplicated_work
        ! duplicated_work a2 info key=f16e8e8552b3e first=a1 what=search agents=2
5       a2 asks to call search q=trees
        > allow
