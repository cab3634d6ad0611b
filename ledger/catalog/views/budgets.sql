-- budgets: what each agent was given, set aside and used, one row an agent and unit.
--   run: the run
--   agent: the agent; empty: the run as a whole
--   unit: spawns, tool_calls, model_calls, tokens or microdollars
--   granted: its contract's budget; NULL: no contract (the policy's limits hold all the same)
--   leased: set aside by leases
--   returned: given back by their holders
--   spent: used, as far as the agent's own events say
with contracts as (
    select run, agent, from_json(payload->'$.budget', '{"spawns": "BIGINT", "tool_calls": "BIGINT",
        "model_calls": "BIGINT", "tokens": "BIGINT", "microdollars": "BIGINT"}') as b
    from _facts(['agent_started']) where (payload->'$.budget') is not null),
granted as (
    select run, agent, unnest(_units) as unit,
           unnest([b.spawns, b.tool_calls, b.model_calls, b.tokens, b.microdollars]) as amount
    from contracts, _units()),
leases as (
    select run, from_json(payload->'$.lease', '{"agent": "VARCHAR", "units": ["BIGINT"]}') as l
    from _verdicts where contains(payload, '"lease"') and (payload->'$.lease') is not null),
leased as (
    select run, l.agent as agent, unnest(_units) as unit, unnest(l.units) as amount
    from leases, _units()),
backs as (
    select run, agent, from_json(payload->'$.left', '{"spawns": "BIGINT", "tool_calls": "BIGINT",
        "model_calls": "BIGINT", "tokens": "BIGINT", "microdollars": "BIGINT"}') as b
    from _facts(['lease_returned'])),
returned as (
    select run, agent, unnest(_units) as unit,
           unnest([b.spawns, b.tool_calls, b.model_calls, b.tokens, b.microdollars]) as amount
    from backs, _units()),
acts as (
    select run, case when type = 'agent_started' then parent else agent end as agent,
           [count(*) filter (type = 'agent_started'),
            count(*) filter (type = 'tool_call_started'),
            count(*) filter (type = 'model_call_started'),
            coalesce(sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens), 0),
            coalesce(sum(cost_microdollars), 0)] as amounts
    from _facts(['agent_started', 'tool_call_started', 'model_call_started', 'model_call_ended'])
    group by all),
spent as (
    select run, agent, unnest(_units) as unit, unnest(amounts) as amount from acts, _units()),
moves as (
    select run, agent, unit, amount as granted, null as leased, null as returned, null as spent
    from granted
    union all select run, agent, unit, null, amount, null, null from leased
    union all select run, agent, unit, null, null, amount, null from returned
    union all select run, agent, unit, null, null, null, amount from spent)
select run, coalesce(agent, '') as agent, unit,
       case when grouping(agent) = 0 then sum(granted)::bigint end as granted,
       coalesce(sum(leased), 0)::bigint as leased, coalesce(sum(returned), 0)::bigint as returned,
       coalesce(sum(spent), 0)::bigint as spent
from moves where agent <> '' and unit is not null
group by grouping sets ((run, agent, unit), (run, unit))
