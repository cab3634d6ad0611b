-- runs: one row a run, with its shape and its bill.
--   run: the run
--   tenant: who it is for
--   task_key: what makes runs of the same task comparable
--   task: what was asked
--   effort: effort class
--   role: role of the lead
--   policy: digest of the policy it was started under; empty: the default
--   code_version: version of the code that ran it
--   prompt_digest: digest of its prompt
--   labels: its labels, JSON
--   resumes: the run it goes on with
--   grade: declared, observed or enforced
--   time_known: false where order stands in for times
--   started_ms: its clock at the start
--   ended_ms: and at the end; NULL: it never said
--   duration_ms: between the two
--   outcome: how it ended; NULL: it never said
--   error: what went wrong
--   success: what it was worth, as reported later
--   score_millionths: the same as a number
--   agents: agents that lived, the lead included
--   depth_max: depth of the deepest agent; the lead has 0
--   children_max: most children of one agent
--   tool_calls: tool calls started
--   model_calls: model calls started
--   input_tokens: tokens read fresh
--   output_tokens: tokens written
--   cache_read_tokens: tokens read from a cache
--   cache_write_tokens: tokens written to a cache
--   tokens: all four
--   cost_microdollars: what its model calls cost
--   cost_unknown: model calls without a known price
--   denied: requests that were denied
--   refused: events that could not follow what came before
--   findings: findings, each once whatever its level
--   killed: true when an order killed the run as a whole
with told as (
    select run, any_value(grade) filter (type = 'run_started') as grade,
           any_value(tenant) filter (type = 'run_started') as tenant,
           any_value(task_key) filter (type = 'run_started') as task_key,
           any_value(role) filter (type = 'run_started') as role,
           min(clock_ms) filter (type = 'run_started') as started_ms,
           max(clock_ms) filter (type = 'run_ended') as ended_ms,
           arg_max(outcome, "offset") filter (type = 'run_ended') as outcome,
           any_value(error) filter (type = 'run_ended') as error,
           from_json(any_value(payload) filter (type = 'run_started'),
               '{"task": "VARCHAR", "effort": "VARCHAR", "policy": "VARCHAR", "labels": "JSON",
                 "code_version": "VARCHAR", "prompt_digest": "VARCHAR", "resumes": "VARCHAR",
                 "time_known": "BOOLEAN"}') as s,
           from_json(arg_max(payload, "offset") filter (type = 'outcome_reported'),
               '{"success": "BOOLEAN", "score_millionths": "BIGINT"}') as o
    from _facts(['run_started', 'run_ended', 'outcome_reported'])
    group by run having count(*) filter (type = 'run_started') > 0),
acts as (
    select run, count(*) filter (type = 'tool_call_started') as tool_calls,
           count(*) filter (type = 'model_call_started') as model_calls,
           sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens,
           sum(cache_read_tokens)::bigint as cache_read_tokens,
           sum(cache_write_tokens)::bigint as cache_write_tokens,
           sum(cost_microdollars)::bigint as cost_microdollars,
           count(*) filter (not cost_known) as cost_unknown
    from _facts(['tool_call_started', 'model_call_started', 'model_call_ended']) group by run),
shape as (
    select run, count(*) as agents, max(depth) as depth_max, max(children) as children_max
    from agents group by run),
said as (
    select run, count(*) filter (decision = 'deny') as denied,
           count(*) filter (refused is not null) as refused
    from _verdicts group by run),
seen as (select run, count(distinct (name, subject)) as findings from findings group by run),
kills as (select distinct run from orders where action = 'kill' and scope = 'run')
select run, tenant, task_key, nullif(s.task, '') as task, nullif(s.effort, '') as effort, role,
       coalesce(s.policy, '') as policy, nullif(s.code_version, '') as code_version,
       nullif(s.prompt_digest, '') as prompt_digest, coalesce(s.labels, '{}')::json as labels,
       nullif(s.resumes, '') as resumes, grade, coalesce(s.time_known, true) as time_known,
       started_ms, ended_ms, ended_ms - started_ms as duration_ms, outcome, error,
       o.success as success, o.score_millionths as score_millionths, coalesce(agents, 0) as agents,
       coalesce(depth_max, 0) as depth_max, coalesce(children_max, 0) as children_max,
       coalesce(tool_calls, 0) as tool_calls, coalesce(model_calls, 0) as model_calls,
       coalesce(input_tokens, 0) as input_tokens, coalesce(output_tokens, 0) as output_tokens,
       coalesce(cache_read_tokens, 0) as cache_read_tokens,
       coalesce(cache_write_tokens, 0) as cache_write_tokens,
       coalesce(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens, 0) as tokens,
       coalesce(cost_microdollars, 0) as cost_microdollars,
       coalesce(cost_unknown, 0) as cost_unknown, coalesce(denied, 0) as denied,
       coalesce(said.refused, 0) as refused, coalesce(findings, 0) as findings,
       kills.run is not null as killed
from told left join acts using (run) left join shape using (run) left join said using (run)
          left join seen using (run) left join kills using (run)
