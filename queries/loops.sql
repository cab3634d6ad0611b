-- loops: agents that made the same tool call with the same arguments again and again.
-- why:     a no-op loop runs until somebody stops it; the longest seen ran 6.5 hours.
-- params:  $since_ms=0, $times_min=3, $limit=20
-- agrees:  ledger.core.detectors.repeated_step
select run, agent, tool, args_fp, count(*) as times, count(distinct result_fp) as results,
       max(coalesce(ended_ms, started_ms)) - min(started_ms) as for_ms
from tool_calls
where args_fp is not null and retry_of is null and started_ms >= $since_ms
group by run, agent, tool, args_fp having count(*) >= $times_min
order by times desc, run, agent, tool, args_fp limit $limit
