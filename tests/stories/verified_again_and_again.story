# 30 to 40 % of the runtime went into verifying again what another had verified; three copies of
# one 15-minute suite (rjwalters/loom #8268). Scripted.
---
0       root starts
1..3    root spawns builder{n}: change {n}
60      builder1 calls test suite=all
61      builder2 calls test suite=all
        ! duplicated_work builder2 info key=ae3e2acf5e574 first=builder1 what=test agents=2
62      builder3 calls test suite=all
        ! duplicated_work builder3 warning key=ae3e2acf5e574 first=builder1 what=test agents=3
960     builder1 gets green from test
