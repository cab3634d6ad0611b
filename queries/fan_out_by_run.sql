-- fan_out_by_run: the most children any one agent had open at once.
-- why:     width drives cost sooner than depth does.
-- params:  $since_ms=0, $limit=20
-- agrees:  ledger.core.detectors.runaway_fan_out
with steps as (
    select run, parent as agent, started_offset as place, 1 as step from agents
    where parent is not null and started_ms >= $since_ms
    union all
    select run, parent, ended_offset, -1 from agents
    where parent is not null and ended_offset is not null and started_ms >= $since_ms),
widths as (
    select run, agent, sum(step) over (partition by run, agent order by place) as open
    from steps)
select run, arg_max(agent, open) as agent, max(open)::bigint as open_max
from widths group by run
order by open_max desc, run limit $limit
