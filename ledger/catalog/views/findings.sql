-- findings: what detectors saw, one row a finding and level.
--   run: the run
--   name: the pattern
--   subject: the agent it is about
--   severity: info, warning, critical or fatal
--   level: rises each time it grew worse; 0: it is over
--   mode: enforce or evaluate_only
--   effect: what it led to: warn, deny, pause or kill
--   reason: what was seen, a sentence
--   facts: the same in fields, JSON
--   evidence: offsets of the events that prove it
--   at_ms: the run's clock, ms since 1970
--   offset: the event at which it was seen
--   policy: digest of the policy it was judged under
--   pos: the verdict that carries it
with found as (
    select *, unnest(from_json(payload, '{"findings": [{
        "name": "VARCHAR", "subject": "VARCHAR", "severity": "VARCHAR", "level": "BIGINT",
        "reason": "VARCHAR", "facts": "JSON", "evidence": ["BIGINT"], "mode": "VARCHAR",
        "effect": "VARCHAR"}]}').findings) as f,
        payload->>'$.policy' as policy
    from _verdicts
    where contains(payload, '"findings"'))
select run, f.name as name, f.subject as subject, f.severity as severity, f.level as level,
       coalesce(f.mode, 'enforce') as mode, coalesce(f.effect, 'warn') as effect,
       f.reason as reason, coalesce(f.facts, '{}')::json as facts,
       coalesce(f.evidence, []) as evidence, at_ms, "offset", policy, position as pos
from found
