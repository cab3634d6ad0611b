-- refused: bytes that are no event, with the reason, once each.
--   pos: place in the refused log
--   offset: the place they had got in the event log; NULL: none
--   partition: partition of the event log they are in; 0 in a SQLite log
--   append_ms: when they were refused, ms since 1970
--   source: who sent them; on Kafka the topic they are in
--   reason: what is wrong with them
--   payload: the bytes, where they are text
--   raw: the bytes, where they are not
select position as pos, "offset", case when "offset" is not null then coalesce(seq, 0) end
           as "partition",
       append_ms, source, refused as reason, payload, raw
from _refused
qualify "offset" is null or row_number() over (
    partition by source, seq, "offset", case when starts_with(refused, 'range_lost: ') then refused end
    order by position) = 1
