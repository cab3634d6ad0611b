# 110 reads, five duplicate listings, no output (openhuman #5806). Scripted: the listings are
# seen, the reads of different pages are not a loop.
---
0       root starts
1..110  root calls read page={n} -> page {n}
111..115 root calls list dir=. -> the same files
     [113] ! repeated_step root warning rounds=3 period=1 tool=list
     [115] ! repeated_step root critical rounds=5 period=1 tool=list
