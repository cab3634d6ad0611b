-- refused: bytes that are no event, with the reason.
--   pos: place in the refused log
--   offset: the place they had got in the event log; NULL: none
--   append_ms: when they were refused, ms since 1970
--   source: who sent them
--   reason: what is wrong with them
--   payload: the bytes, where they are text
--   raw: the bytes, where they are not
select position as pos, "offset", append_ms, source, refused as reason, payload, raw from _refused
