# Cap 10, parent 9 plus child 5 gave 14: reserving must be atomic across the tree (aflock #135).
# Scripted.
[run]
tool_calls_max = 10
---
0       root starts
1       root spawns child
2..10   root asks to call fetch page={n}
   [2..10] > allow
11..15  child asks to call fetch chapter={n}
      [11] > allow
  [12..15] > deny run.tool_calls_max
