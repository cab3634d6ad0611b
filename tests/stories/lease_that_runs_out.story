# A lease runs out: its calls count as made, its tokens come back, late records settle. Scripted.
[run]
tool_calls_max = 10
tokens_max = 1000
[lease]
ttl_ms = 10000
---
0       root starts
1       root spawns a
2       root takes a lease of 5 tool_calls, 500 tokens
        > allow: 5 tool_calls, 500 tokens
3       root calls fetch page=1 -> a page
15      a takes a lease of 10 tool_calls, 1000 tokens
        > allow: 3 tool_calls, 500 tokens
16      root calls fetch page=2 -> a page
17      root returns its lease
18      a takes a lease of 10 tool_calls
        > allow: 3 tool_calls
