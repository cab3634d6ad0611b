# Each delegation starts a fresh iteration budget, so guards never fire (crewAI #6414, archestra
# #6427). Scripted: the contract of the first child holds for all below it.
---
0       root starts
1       root spawns a for 4 tool_calls: try it four times
2       a spawns b: try it again
3       b spawns c: and again
4..5    b asks to call try n={n}
    [4..5] > allow
6..7    c asks to call try n={n}
    [6..7] > allow
8       c asks to call try n=8
        > deny contract.tool_calls
9       a asks to call try n=9
        > deny contract.tool_calls
10      root asks to call try n=10
        > allow
