-- cost_by_task: what each kind of task costs, and how far its dearest run is from its median.
-- why:     a task whose dearest run costs ten medians has a failure mode, not a price.
-- params:  $since_ms=0, $limit=20
select task_key, count(*) as runs, sum(cost_microdollars)::bigint as cost_microdollars,
       median(cost_microdollars)::bigint as cost_median, max(cost_microdollars) as cost_max,
       arg_max(run, cost_microdollars) as dearest_run,
       sum(cost_unknown)::bigint as calls_without_price,
       count(*) filter (outcome is distinct from 'succeeded') as not_succeeded
from runs where started_ms >= $since_ms
group by task_key
order by cost_microdollars desc, task_key limit $limit
