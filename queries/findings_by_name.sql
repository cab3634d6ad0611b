-- findings_by_name: which patterns were found, how bad, and what they led to.
-- why:     what a rule would have done is known before anybody lets it do it.
-- params:  $since_ms=0
select name, mode, effect, count(distinct (run, subject)) as findings,
       count(distinct run) as runs, max(level) as level_max,
       count(distinct (run, subject)) filter (severity in ('critical', 'fatal')) as critical,
       arg_max(run, at_ms) as last_run, max(at_ms) as last_ms
from findings where level > 0 and at_ms >= $since_ms
group by name, mode, effect
order by findings desc, name, mode, effect
