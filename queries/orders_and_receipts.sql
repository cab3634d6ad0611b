-- orders_and_receipts: what was stopped, by whom, how long it took and what it cost meanwhile.
-- why:     a kill switch is worth what its slowest receipt says.
-- params:  $since_ms=0, $limit=20
select run, order_id, action, scope, agent,
       case when by_rule then 'rule' else coalesce(nullif(given_by, ''), 'unnamed') end as given_by,
       receipts, agents_stopped, calls_in_flight, microdollars_since, ms_to_quiet,
       quiet_ms is null as not_quiet, reason
from orders where given_ms >= $since_ms
order by given_ms desc, run, order_id limit $limit
