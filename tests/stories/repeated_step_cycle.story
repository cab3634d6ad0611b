# A cycle of three calls comes round and round; each of them is refused then. Scripted.
---
0       root starts
1       root calls plan now -> think
2       root calls think now -> act
3       root calls act now -> plan
4       root calls plan now -> think
5       root calls think now -> act
6       root calls act now -> plan
7       root calls plan now -> think
8       root calls think now -> act
9       root calls act now -> plan
        ! repeated_step root warning rounds=3 period=3 tool=act
10      root calls plan now -> think
11      root calls think now -> act
12      root calls act now -> plan
13      root calls plan now -> think
14      root calls think now -> act
15      root calls act now -> plan
        ! repeated_step root critical rounds=5 period=3 tool=act
16      root asks to call plan now
        > deny findings.repeated_step.deny_repeats
17      root asks to call think now
        > deny findings.repeated_step.deny_repeats
18      root asks to call act now
        > deny findings.repeated_step.deny_repeats
19      root asks to call finish now
        > allow
