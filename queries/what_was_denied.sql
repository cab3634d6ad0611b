-- what_was_denied: which limits said no, to how many agents, and in how many runs.
-- why:     a limit that is hit daily is either too low or is all that stands before a bill.
-- params:  $since_ms=0, $limit=20
select limit_name, about, count(*) as denials, count(distinct run) as runs,
       count(distinct (run, agent)) as agents, max(at_ms) as last_ms,
       arg_max(reason, at_ms) as last_reason
from verdicts where decision = 'deny' and at_ms >= $since_ms
group by limit_name, about
order by denials desc, limit_name, about limit $limit
