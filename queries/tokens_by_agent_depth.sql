-- tokens_by_agent_depth: how much of the bill is made at each depth of the tree.
-- why:     delegation should move work down; here is whether it moves the money too.
-- params:  $since_ms=0
select depth, count(*) as agents, sum(tokens)::bigint as tokens,
       sum(cost_microdollars)::bigint as cost_microdollars,
       round(100 * sum(cost_microdollars) / greatest(sum(sum(cost_microdollars)) over (), 1), 1)
           as cost_percent,
       round(avg(tool_calls), 1) as tool_calls_each
from agents where started_ms >= $since_ms
group by depth order by depth nulls last
