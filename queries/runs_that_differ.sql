-- runs_that_differ: tasks whose runs take very different shapes.
-- why:     the same task done by 3 agents one day and 40 the next has no shape anybody chose.
-- params:  $since_ms=0, $runs_min=2, $limit=20
select task_key, count(*) as runs, min(agents) as agents_min, max(agents) as agents_max,
       min(depth_max) as depth_min, max(depth_max) as depth_max,
       min(tool_calls) as tool_calls_min, max(tool_calls) as tool_calls_max,
       round(max(tokens) / greatest(min(tokens), 1), 1) as tokens_ratio,
       arg_max(run, (agents, tool_calls)) as widest_run
from runs where task_key is not null and started_ms >= $since_ms
group by task_key having count(*) >= $runs_min
order by max(agents) / greatest(min(agents), 1) desc, tokens_ratio desc, task_key limit $limit
