-- slowest_tools: where agents wait: calls, time and failures of each tool.
-- why:     the slowest tool sets the length of every run that needs it.
-- params:  $since_ms=0, $limit=20
select tool, count(*) as calls, count(*) filter (ended_ms is null) as never_ended,
       count(*) filter (error is not null) as failed, sum(duration_ms)::bigint as total_ms,
       quantile_disc(duration_ms, 0.5) as p50_ms, quantile_disc(duration_ms, 0.95) as p95_ms,
       max(duration_ms) as max_ms
from tool_calls where started_ms >= $since_ms
group by tool
order by total_ms desc nulls last, tool limit $limit
