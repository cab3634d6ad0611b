# Five concurrent calls under a cap of $0.45 spent $0.60 before the first refusal, by
# check-then-act (BerriAI/litellm PR #40002). Scripted: reserved before, settled after.
[run]
microdollars_max = 450000
---
0       root starts
1       root asks gpt for 1000 tokens, 120000 microdollars
        > allow
1       root prompts gpt estimating 1000 tokens, 120000 microdollars
2       root asks gpt-2 for 1000 tokens, 120000 microdollars
        > allow
2       root prompts gpt-2 estimating 1000 tokens, 120000 microdollars
3       root asks gpt-3 for 1000 tokens, 120000 microdollars
        > allow
3       root prompts gpt-3 estimating 1000 tokens, 120000 microdollars
4       root asks gpt-4 for 1000 tokens, 120000 microdollars
        > deny run.microdollars_max
5       root asks gpt-5 for 1000 tokens, 120000 microdollars
        > deny run.microdollars_max
# One took less than was set aside: there is room again.
6       root gets 700 tokens, 20000 microdollars from gpt
7       root asks gpt-6 for 1000 tokens, 120000 microdollars
        > allow
