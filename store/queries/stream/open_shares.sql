-- Opens the shares of a stream for the processes that take them, if it is still this epoch's. Shares of an older epoch are gone, with the
-- lots that they handed over and the stream did not publish.
with mine as (select name, epoch from stream where name = $1 and epoch = $2 for update),
gone as (delete from stream_lot l using mine m where l.stream = m.name),
closed as (delete from stream_share h using mine m where h.stream = m.name and h.share >= $3),
opened as (
    insert into stream_share as h (stream, share, epoch) select m.name, n, m.epoch from mine m, generate_series(0, $3::integer - 1) n
    on conflict (stream, share) do update set epoch = excluded.epoch, term = h.term + 1, process = null, lease_until = null
)
select count(*) as "opened!" from mine
