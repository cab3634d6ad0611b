-- retry_amplification: how many calls were made for each that was meant, and how many failed.
-- why:     agents that retry against one limit feed the storm that fails them.
-- params:  $since_ms=0, $limit=20
with calls as (
    select run, 'tool' as kind, tool as name, retry_of, error, started_ms from tool_calls
    union all
    select run, 'model', model, retry_of, error, started_ms from model_calls)
select kind, name, count(*) as calls, count(*) filter (retry_of is not null) as retries,
       count(*) filter (error is not null) as failed,
       round(count(*) / greatest(count(*) filter (retry_of is null), 1), 2) as calls_each,
       mode(error) as error
from calls where started_ms >= $since_ms
group by kind, name having retries > 0
order by calls_each desc, kind, name limit $limit
