-- cache_read_share: how much of what models read came from a cache, by model.
-- why:     in a fleet cache reads outweigh output 225 to 1: a budget that leaves them out is blind.
-- params:  $since_ms=0, $limit=20
select model, count(*) as calls, sum(cache_read_tokens)::bigint as cache_read_tokens,
       sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens,
       round(100 * sum(cache_read_tokens)
           / greatest(sum(cache_read_tokens + cache_write_tokens + input_tokens), 1), 1)
           as cache_read_percent,
       round(sum(cache_read_tokens) / greatest(sum(output_tokens), 1), 1) as cache_reads_per_output
from model_calls where started_ms >= $since_ms and ended_ms is not null
group by model
order by cache_read_tokens desc, model limit $limit
