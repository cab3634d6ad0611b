# Recursive delegation, over $600; "no safeguard a user can fall back to" (anthropics/claude-code
# #72732; elsewhere more than 50 levels deep, #68430). Scripted.
[run]
microdollars_max = 5000000
---
0       root starts: fix the build
1       root spawns a1 if it may: fix the build
        > allow
2       a1 spawns a2 if it may: fix the build for real
        > allow
3       a2 spawns a3 if it may: fix the build for good
        > allow
4       a3 spawns a4 if it may: fix the build at last
        > allow
5       a4 spawns a5 if it may: fix the build once more
        > deny run.depth_max
        ! delegation_too_deep a4 warning child=a5 depth=5 attempts=1
6       a4 spawns a6 if it may: fix the build after all
        > deny run.depth_max
        ! delegation_too_deep a4 warning child=a6 depth=5 attempts=2
7       a4 asks opus for 9000 tokens, 4000000 microdollars
        > allow
7       a4 prompts opus estimating 9000 tokens, 4000000 microdollars -> 9000 tokens, 4000000 microdollars
8       a3 asks opus for 9000 tokens, 4000000 microdollars
        > deny run.microdollars_max
