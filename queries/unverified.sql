-- unverified: outputs that nobody checked, or that failed their last check, by who made them.
-- why:     runs that end well on unchecked work are the expensive surprises.
-- params:  $since_ms=0, $limit=20
with made as (
    select run, payload->>'$.output' as output, arg_min(agent, "offset") as agent,
           arg_min(payload->>'$.kind', "offset") as kind, min("offset") as place
    from events where type = 'output_produced' and refused is null group by all),
checks as (
    select run, payload->>'$.output' as output, count(*) as checks,
           arg_max((payload->>'$.passed')::boolean, "offset") as passed
    from events where type = 'output_verified' and refused is null group by all)
select run, output, made.agent, kind, coalesce(checks.checks, 0) as checks,
       case when checks.output is null then 'never' else 'failed' end as verified,
       runs.outcome
from made left join checks using (run, output) left join runs using (run)
where passed is distinct from true and coalesce(runs.started_ms, 0) >= $since_ms
order by run, place limit $limit
