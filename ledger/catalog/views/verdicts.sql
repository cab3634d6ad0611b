-- verdicts: all that the judge said of one event, one row each.
--   pos: its place in the verdict log
--   offset: the event it is about
--   run: the run
--   agent: the agent of the event
--   about: the kind of event
--   at_ms: the run's clock, ms since 1970
--   decision: allow, deny or transform; NULL: nothing was asked
--   reason: why not, for the model
--   limit_name: the policy field or the finding that says no
--   limit_left: what was left under it
--   retry_ms: in how long asking again may help; 0: it will not
--   instead: what to do instead
--   would_reason: why a rule in evaluate_only would have said no
--   would_limit: the policy field or finding of that rule
--   lease: id of the lease granted
--   holder: the process that holds it
--   ttl_ms: how long it holds
--   findings: how many findings it carries
--   orders: how many orders rules gave
--   quiet: the orders that are quiet from here on
--   recalls: the holders asked to give idle leases back
--   refusal: why the event cannot follow what came before; NULL: it can
--   policy: digest of the policy it was judged under
--   version: version of the deciding code
--   generation: the judge's generation
--   payload: the verdict as it was, JSON
--   partition: partition of the log; 0 in a SQLite log
with parsed as (
    select *, from_json(payload, '{
        "about": "VARCHAR", "policy": "VARCHAR", "version": "BIGINT", "generation": "BIGINT",
        "denial": {"reason": "VARCHAR", "limit": "VARCHAR", "left": "BIGINT",
                   "retry_ms": "BIGINT", "instead": "VARCHAR"},
        "would": {"reason": "VARCHAR", "limit": "VARCHAR"},
        "lease": {"lease": "VARCHAR", "holder": "VARCHAR", "ttl_ms": "BIGINT"},
        "findings": ["JSON"], "orders": ["JSON"], "quiet": ["VARCHAR"],
        "recalls": ["VARCHAR"]}') as v
    from _verdicts)
select position as pos, "offset", run, agent, v.about as about, at_ms, decision,
       v.denial.reason as reason, v.denial.limit as limit_name,
       case when v.denial is not null then coalesce(v.denial.left, 0) end as limit_left,
       case when v.denial is not null then coalesce(v.denial.retry_ms, 0) end as retry_ms,
       v.denial.instead as instead, v.would.reason as would_reason, v.would.limit as would_limit,
       v.lease.lease as lease, v.lease.holder as holder, v.lease.ttl_ms as ttl_ms,
       coalesce(len(v.findings), 0) as findings, coalesce(len(v.orders), 0) as orders,
       coalesce(v.quiet, []) as quiet, coalesce(v.recalls, []) as recalls,
       refused as refusal, v.policy as policy,
       coalesce(v.version, 0) as version, coalesce(v.generation, 0) as generation, payload,
       "partition"
from parsed
