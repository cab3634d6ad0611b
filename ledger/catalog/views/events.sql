-- events: everything that anybody recorded, once each; what could not be read is here too.
--   offset: its place in the log
--   append_ms: when the log took it in, ms since 1970
--   run: the run it belongs to
--   type: kind of event; NULL when the bytes could not be read
--   agent: who acts or is acted on; empty: the run as a whole
--   source: the publisher that numbered it
--   seq: the publisher's number within the run; 0: not numbered
--   at_ms: the time that the publisher claims, ms since 1970
--   grade: declared, observed or enforced
--   refused: why the bytes are no event; NULL: they are
--   call: the tool or model call
--   tool: name of the tool
--   model: name of the model
--   parent: parent of the agent that started
--   child: the child asked for
--   role: role of the lead or of the agent
--   lease: the lease that the act was admitted with
--   retry_of: the call that this one repeats
--   task_key: what makes runs of the same task comparable
--   tenant: who the run is for
--   outcome: how the run or agent ended
--   error: what went wrong
--   input_tokens: tokens read fresh
--   output_tokens: tokens written
--   cache_read_tokens: tokens read from a cache
--   cache_write_tokens: tokens written to a cache
--   cost_microdollars: cost of the model call
--   cost_known: false where no price was found
--   payload: the event as it was, JSON; NULL where it was not text
--   partition: partition of the log; 0 in a SQLite log
select "offset", append_ms, run, type, agent, source, seq, at_ms, grade, refused, call, tool, model,
       parent, child, role, lease, retry_of, task_key, tenant, outcome, error, input_tokens,
       output_tokens, cache_read_tokens, cache_write_tokens, cost_microdollars, cost_known, payload,
       "partition"
from _events
