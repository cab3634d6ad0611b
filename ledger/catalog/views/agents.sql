-- agents: one row an agent of a run, its lead included.
--   run: the run
--   agent: the agent
--   parent: who started it; NULL for the lead
--   depth: 0 for the lead, 1 for its children; NULL where the tree is not known
--   role: its role
--   task: what it was to do
--   step: the step of a plan it works on
--   lease: the lease it was started under; NULL: nobody was asked
--   started_ms: the run's clock at its start
--   ended_ms: and at its end; NULL: it never said
--   outcome: how it ended
--   error: what went wrong
--   children: agents it started
--   tool_calls: tool calls it made
--   model_calls: model calls it made
--   tokens: all tokens it used, cache included
--   cost_microdollars: what they cost
--   started_offset: the event that started it
--   ended_offset: the event that ended it
with recursive born as (
    select run, agent, nullif(parent, '') as parent, role, lease, clock_ms, "offset",
           from_json(payload, '{"task": "VARCHAR", "step": "VARCHAR"}') as p
    from _facts(['run_started', 'agent_started'])
    qualify row_number() over (partition by run, agent order by "offset") = 1),
tree as (
    select run, agent, 0 as depth from born where parent is null
    union all
    select born.run, born.agent, tree.depth + 1
    from born join tree on born.run = tree.run and born.parent = tree.agent
    where tree.depth < 1000),
gone as (
    select run, agent, max(clock_ms) as ended_ms, min("offset") as ended_offset, arg_max(outcome, "offset") as outcome,
           arg_max(error, "offset") as error
    from _facts(['agent_ended']) group by all),
acts as (
    select run, agent, count(*) filter (type = 'tool_call_started') as tool_calls,
           count(*) filter (type = 'model_call_started') as model_calls,
           coalesce(sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens), 0)
               as tokens,
           coalesce(sum(cost_microdollars), 0) as cost_microdollars
    from _facts(['tool_call_started', 'model_call_started', 'model_call_ended']) group by all),
children as (
    select run, parent as agent, count(*) as children from born where parent is not null group by all)
select run, agent, born.parent, tree.depth, born.role, nullif(born.p.task, '') as task,
       nullif(born.p.step, '') as step, born.lease, born.clock_ms as started_ms, gone.ended_ms,
       gone.outcome, gone.error, coalesce(children.children, 0) as children,
       coalesce(acts.tool_calls, 0) as tool_calls, coalesce(acts.model_calls, 0) as model_calls,
       coalesce(acts.tokens, 0)::bigint as tokens,
       coalesce(acts.cost_microdollars, 0)::bigint as cost_microdollars,
       born."offset" as started_offset, gone.ended_offset
from born left join tree using (run, agent) left join gone using (run, agent)
          left join acts using (run, agent) left join children using (run, agent)
