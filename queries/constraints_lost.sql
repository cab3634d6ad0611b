-- constraints_lost: constraints that a run declared and a subagent was started without.
-- why:     what the lead was told binds nobody whom it did not reach.
-- params:  $since_ms=0, $limit=20
with declared as (
    select run, payload->>'$.constraint' as "constraint", payload->>'$.text' as text,
           min("offset") as place
    from events where type = 'constraint_declared' and refused is null group by all),
started as (
    select run, agent, parent, "offset",
           coalesce(from_json(payload, '{"constraints": ["VARCHAR"]}').constraints, []) as held
    from events where type = 'agent_started' and refused is null),
told as (
    select run, to_agent as agent, flatten(list(constraints)) as held from handoffs group by all)
select run, declared.constraint, text, count(*) as agents_without,
       min_by(started.agent, started."offset") as first_agent
from declared join started using (run) left join told using (run, agent)
              left join runs using (run)
where started."offset" > declared.place
  and not list_contains(started.held, declared.constraint)
  and not list_contains(coalesce(told.held, []), declared.constraint)
  and coalesce(runs.started_ms, 0) >= $since_ms
group by all
order by agents_without desc, run, declared.constraint limit $limit
