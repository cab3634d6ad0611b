-- handoffs: one row a handoff that was offered.
--   run: the run
--   handoff: its id
--   agent: who gives
--   to_agent: who is to take
--   mode: delegate_and_wait, delegate_and_continue or transfer
--   goal: what for
--   constraints: ids of the constraints that go with it
--   authority: what the taker may do
--   state: offered, accepted, returned or refused
--   refusal: why it was not taken
--   constraints_lost: constraints that the return no longer names; NULL: not returned
--   offered_ms: the run's clock at the offer
--   answered_ms: at the acceptance or refusal
--   returned_ms: at the return
--   deadline_ms: when the return was wanted; NULL: no deadline
--   offered_offset: the event that offered it
with marked as (
    select *, payload->>'$.handoff' as handoff
    from _facts(['handoff_offered', 'handoff_accepted', 'handoff_returned', 'handoff_refused'])),
turns as (
    select *, count(*) filter (type = 'handoff_offered') over (
        partition by run, handoff order by "offset") as turn
    from marked),
paired as (
    select run, handoff, turn, min("offset") as offered_offset,
           arg_min(agent, "offset") as agent, arg_min(clock_ms, "offset") as offered_ms,
           min(clock_ms) filter (type in ('handoff_accepted', 'handoff_refused')) as answered_ms,
           min(clock_ms) filter (type = 'handoff_returned') as returned_ms,
           arg_max(type, "offset") as last,
           any_value(payload->>'$.reason') filter (type = 'handoff_refused') as refusal,
           from_json(arg_min(payload, "offset"), '{"to": "VARCHAR", "mode": "VARCHAR", "contract": {
               "goal": "VARCHAR", "constraints": ["VARCHAR"], "authority": ["VARCHAR"],
               "deadline_ms": "BIGINT"}}') as o,
           from_json(any_value(payload) filter (type = 'handoff_returned'),
               '{"constraints": ["VARCHAR"]}') as r
    from turns where turn > 0 group by run, handoff, turn)
select run, handoff, agent, o.to as to_agent, coalesce(o.mode, 'delegate_and_wait') as mode,
       o.contract.goal as goal, coalesce(o.contract.constraints, []) as constraints,
       coalesce(o.contract.authority, []) as authority, replace(last, 'handoff_', '') as state,
       refusal,
       case when returned_ms is not null then list_filter(coalesce(o.contract.constraints, []),
           lambda c: not list_contains(coalesce(r.constraints, []), c)) end as constraints_lost,
       offered_ms, answered_ms, returned_ms, nullif(o.contract.deadline_ms, 0) as deadline_ms,
       offered_offset
from paired
