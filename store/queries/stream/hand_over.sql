-- What a share has written, for the stream to publish, if the share is still this term's. Gives how many lots of it wait now.
with mine as (
    select stream, share, epoch from stream_share where stream = $1 and epoch = $2 and share = $3 and term = $4 for share
),
given as (
    insert into stream_lot (stream, share, epoch, covered, records, quarantined, last_record_at, files)
    select stream, share, epoch, $5, $6, $7, $8, $9 from mine
    returning stream
)
select 1 + (select count(*) from stream_lot l where l.stream = m.stream and l.share = m.share and l.epoch = m.epoch) as "waiting!"
from mine m, given
