-- outcomes_by_effort: what each effort class buys: success, agents, tokens and time.
-- why:     more agents are worth their price only where more runs succeed.
-- params:  $since_ms=0
select effort, count(*) as runs,
       count(*) filter (coalesce(success, outcome = 'succeeded')) as succeeded,
       round(avg(agents), 1) as agents_each, median(tokens)::bigint as tokens_median,
       median(cost_microdollars)::bigint as cost_median,
       median(duration_ms) filter (time_known)::bigint as duration_median_ms
from runs where started_ms >= $since_ms
group by effort order by runs desc, effort
