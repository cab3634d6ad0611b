-- acted_after_kill: what agents of a killed run did after the kill was in the log.
-- why:     a child that outlives its parent's kill is the bill nobody expects.
-- params:  $since_ms=0, $limit=20
with kills as (
    select run, min("offset") as place, min(given_ms) as given_ms from orders
    where action = 'kill' and scope = 'run' and given_ms >= $since_ms group by run),
acts as (
    select run, agent, 'agent' as kind, started_ms, started_offset as place, 0 as cost from agents
    union all
    select run, agent, 'tool call', started_ms, started_offset, 0 from tool_calls
    union all
    select run, agent, 'model call', started_ms, started_offset, coalesce(cost_microdollars, 0)
    from model_calls)
select run, agent, count(*) filter (kind = 'agent') as agents,
       count(*) filter (kind = 'tool call') as tool_calls,
       count(*) filter (kind = 'model call') as model_calls,
       sum(cost)::bigint as cost_microdollars, max(started_ms) - any_value(given_ms) as until_ms
from acts join kills using (run)
where acts.place > kills.place
group by run, agent
order by cost_microdollars desc, run, agent limit $limit
