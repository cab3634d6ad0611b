-- tool_calls: one row a tool call that started.
--   run: the run
--   agent: who called
--   call: the call's id
--   tool: the tool
--   args_fp: fingerprint of the arguments; NULL: not known
--   args_bytes: their size
--   step: the step of a plan it works on
--   lease: the lease it was admitted with; NULL: nobody was asked
--   retry_of: the call that this one repeats
--   started_ms: the run's clock at its start
--   ended_ms: and at its end; NULL: it never came back
--   duration_ms: between the two
--   result_fp: fingerprint of the result; NULL: not known
--   result_bytes: its size
--   error: what went wrong
--   started_offset: the event that started it
--   ended_offset: the event that ended it
with marked as (
    select *, count(*) filter (type = 'tool_call_started') over (
        partition by run, call order by "offset") as turn
    from _facts(['tool_call_started', 'tool_call_ended'])),
paired as (
    select run, call, turn, min("offset") as started_offset,
           arg_min(agent, "offset") as agent, any_value(tool) as tool, any_value(lease) as lease,
           any_value(retry_of) as retry_of, arg_min(clock_ms, "offset") as started_ms,
           min("offset") filter (type = 'tool_call_ended') as ended_offset,
           min(clock_ms) filter (type = 'tool_call_ended') as ended_ms,
           any_value(error) as error,
           from_json(arg_min(payload, "offset"),
               '{"args_fp": "BIGINT", "args_bytes": "BIGINT", "step": "VARCHAR"}') as s,
           from_json(any_value(payload) filter (type = 'tool_call_ended'),
               '{"result_fp": "BIGINT", "result_bytes": "BIGINT"}') as e
    from marked where turn > 0 group by run, call, turn)
select run, agent, call, tool, nullif(s.args_fp, 0) as args_fp,
       coalesce(s.args_bytes, 0) as args_bytes, nullif(s.step, '') as step, lease, retry_of,
       started_ms, ended_ms, ended_ms - started_ms as duration_ms,
       nullif(e.result_fp, 0) as result_fp, e.result_bytes as result_bytes, error,
       started_offset, ended_offset
from paired
