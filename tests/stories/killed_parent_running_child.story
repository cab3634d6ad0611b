# A parent was killed, its child ran 30 more minutes and made 176 calls (anthropics/claude-code
# #95138). Scripted: the child lives in another process and has a lease.
---
0       root starts
1       root spawns parent
2       parent spawns child
3       child takes a lease of 50 tool_calls in p2
        > allow: 50 tool_calls
4       child calls bash cmd=ls -> files
5       ops orders stop: kill parent and below
6       child calls bash cmd=rm -> gone
7       child asks to call bash cmd=more
        > deny order.kill
8       child spawns grandchild: go on
9       grandchild asks to call bash cmd=on
        > deny order.kill
# A resume lifts no kill.
10      ops orders go: resume the run
11      child asks to call bash cmd=more
        > deny order.kill
12      root asks to call bash cmd=status
        > allow
# Its process answers; the other never does, and its lease runs out.
13      p1 answers stop
36      time passes
        ~ stop
