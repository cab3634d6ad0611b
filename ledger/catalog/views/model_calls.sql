-- model_calls: one row a model call that started.
--   run: the run
--   agent: who called
--   call: the call's id
--   model: the model
--   prompt_fp: fingerprint of the prompt; NULL: not known
--   prompt_bytes: its size
--   tokens_estimate: tokens expected when it was admitted
--   step: the step of a plan it works on
--   lease: the lease it was admitted with; NULL: nobody was asked
--   retry_of: the call that this one repeats
--   started_ms: the run's clock at its start
--   ended_ms: and at its end; NULL: it never came back
--   duration_ms: between the two
--   input_tokens: tokens read fresh
--   output_tokens: tokens written
--   cache_read_tokens: tokens read from a cache
--   cache_write_tokens: tokens written to a cache
--   cost_microdollars: what it cost
--   cost_known: false where no price was found
--   error: what went wrong
--   started_offset: the event that started it
--   ended_offset: the event that ended it
with marked as (
    select *, count(*) filter (type = 'model_call_started') over (
        partition by run, call order by "offset") as turn
    from _facts(['model_call_started', 'model_call_ended'])),
paired as (
    select run, call, turn, min("offset") as started_offset,
           arg_min(agent, "offset") as agent, any_value(model) as model, any_value(lease) as lease,
           any_value(retry_of) as retry_of, arg_min(clock_ms, "offset") as started_ms,
           min("offset") filter (type = 'model_call_ended') as ended_offset,
           min(clock_ms) filter (type = 'model_call_ended') as ended_ms,
           any_value(input_tokens) as input_tokens, any_value(output_tokens) as output_tokens,
           any_value(cache_read_tokens) as cache_read_tokens,
           any_value(cache_write_tokens) as cache_write_tokens,
           any_value(cost_microdollars) as cost_microdollars, any_value(cost_known) as cost_known,
           any_value(error) as error,
           from_json(arg_min(payload, "offset"),
               '{"prompt_fp": "BIGINT", "prompt_bytes": "BIGINT", "tokens_estimate": "BIGINT",
                 "step": "VARCHAR"}') as s
    from marked where turn > 0 group by run, call, turn)
select run, agent, call, model, nullif(s.prompt_fp, 0) as prompt_fp,
       coalesce(s.prompt_bytes, 0) as prompt_bytes,
       coalesce(s.tokens_estimate, 0) as tokens_estimate, nullif(s.step, '') as step, lease,
       retry_of, started_ms, ended_ms, ended_ms - started_ms as duration_ms, input_tokens,
       output_tokens, cache_read_tokens, cache_write_tokens, cost_microdollars, cost_known, error,
       started_offset, ended_offset
from paired
