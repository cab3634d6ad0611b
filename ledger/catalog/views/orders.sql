-- orders: what people and rules ordered, with what came of it.
--   run: the run
--   order_id: its id
--   action: kill, drain, pause or resume
--   scope: agent, subtree or run
--   agent: the agent it names; empty: the run
--   given_by: who gave it; NULL for a rule
--   by_rule: true when a finding led to it
--   reason: why
--   given_ms: the run's clock when it was given
--   receipts: processes that answered
--   agents_stopped: agents that they stopped
--   calls_in_flight: calls that were under way
--   tokens_since: tokens used between the order and the answer
--   microdollars_since: and their cost
--   quiet_ms: the run's clock when nobody could act any more; NULL: not known to be quiet
--   ms_to_quiet: between the two
--   offset: the event that gave it, or led to it
with given as (
    select run, payload->>'$.order' as order_id, payload->>'$.action' as action,
           coalesce(payload->>'$.scope', 'run') as scope, agent, payload->>'$.by' as given_by,
           false as by_rule, payload->>'$.reason' as reason, clock_ms as given_ms, "offset"
    from _facts(['order_given'])
    union all
    select run, o.order as order_id, o.action, o.scope, coalesce(o.agent, '') as agent,
           null as given_by, true as by_rule, o.reason, at_ms as given_ms, "offset"
    from (select run, at_ms, "offset", unnest(from_json(payload, '{"orders": [{
              "order": "VARCHAR", "action": "VARCHAR", "scope": "VARCHAR", "agent": "VARCHAR",
              "reason": "VARCHAR"}]}').orders) as o
          from _verdicts where contains(payload, '"orders"'))),
receipts as (
    select run, payload->>'$.order' as order_id, count(distinct source) as receipts,
           sum(coalesce((payload->>'$.agents_stopped')::bigint, 0))::bigint as agents_stopped,
           sum(coalesce((payload->>'$.calls_in_flight')::bigint, 0))::bigint as calls_in_flight,
           sum(coalesce((payload->>'$.tokens_since')::bigint, 0))::bigint as tokens_since,
           sum(coalesce((payload->>'$.microdollars_since')::bigint, 0))::bigint
               as microdollars_since
    from _facts(['order_receipted']) group by all),
quiet as (
    select run, unnest(from_json(payload, '{"quiet": ["VARCHAR"]}').quiet) as order_id, at_ms
    from _verdicts where contains(payload, '"quiet"')),
silent as (select run, order_id, min(at_ms) as quiet_ms from quiet group by all)
select run, order_id, action, scope, agent, given_by, by_rule, reason, given_ms,
       coalesce(receipts, 0) as receipts, coalesce(agents_stopped, 0) as agents_stopped,
       coalesce(calls_in_flight, 0) as calls_in_flight, coalesce(tokens_since, 0) as tokens_since,
       coalesce(microdollars_since, 0) as microdollars_since, quiet_ms,
       quiet_ms - given_ms as ms_to_quiet, "offset"
from given left join receipts using (run, order_id) left join silent using (run, order_id)
