-- duplicated_calls: the same tool called with the same arguments by more than one agent of a run.
-- why:     each copy pays for an answer that the run already had.
-- params:  $since_ms=0, $limit=20
-- agrees:  ledger.core.detectors.duplicated_work
select run, tool, args_fp, count(*) as calls, count(distinct agent) as agents,
       count(distinct result_fp) as results,
       sum(duration_ms)::bigint - arg_min(duration_ms, started_offset) as wasted_ms
from tool_calls
where args_fp is not null and retry_of is null and started_ms >= $since_ms
group by run, tool, args_fp having count(distinct agent) > 1
order by calls desc, run, tool, args_fp limit $limit
