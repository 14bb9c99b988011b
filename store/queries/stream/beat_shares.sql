-- Renews the shares of a process and leases it shares that no process reads, up to what is its part: of each stream all processes that
-- are here have the same number, or one more. It has lost each share that it holds and that the answer does not name.
with here as (
    insert into stream_process as p (process, bundle, seen_until) values ($2, $1, now() + $9::float8 * interval '1 second')
    on conflict (process) do update set seen_until = excluded.seen_until
),
others as (select count(*) as many from stream_process where bundle = $1 and process <> $2 and seen_until > now()),
offered as (select * from unnest($3::text[], $4::text[]) as o (name, version)),
held as (select * from unnest($5::text[], $6::integer[], $7::bigint[], $8::bigint[]) as x (stream, share, epoch, term)),
open as (
    select h.stream, h.share, h.term, h.process, x.term = h.term and h.process = $2 as is_held,
        coalesce(h.lease_until < now(), true) or (h.process = $2 and x.term is distinct from h.term) as is_free,
        ceil(count(*) over (partition by h.stream)::numeric / (1 + o.many)) as part
    from stream s join offered f on f.name = s.name and f.version = s.version
    join stream_share h on h.stream = s.name and h.epoch = s.epoch
    left join held x on x.stream = h.stream and x.share = h.share and x.epoch = h.epoch
    cross join others o
    where s.bundle = $1 and not s.is_paused and s.lease_until > now()
),
ranked as (
    select stream, share, term, row_number() over (partition by stream order by share) <= part as is_kept from open where is_held
),
renewed as (
    update stream_share h set process = case when r.is_kept then $2 end,
        lease_until = case when r.is_kept then now() + $9::float8 * interval '1 second' end
    from ranked r where h.stream = r.stream and h.share = r.share and h.term = r.term
    returning h.stream, h.share, h.epoch, h.term, r.is_kept
),
wanted as (
    select o.stream, o.share, o.term,
        row_number() over (partition by o.stream order by o.share)
            <= o.part - (select count(*) from ranked r where r.stream = o.stream and r.is_kept) as is_mine
    from open o where o.is_free and not coalesce(o.is_held, false)
),
free as (
    select h.stream, h.share from stream_share h join wanted w on w.stream = h.stream and w.share = h.share and w.term = h.term
    where w.is_mine for update of h skip locked
),
taken as (
    update stream_share h set term = h.term + 1, process = $2, lease_until = now() + $9::float8 * interval '1 second'
    from free where h.stream = free.stream and h.share = free.share
    returning h.stream, h.share, h.epoch, h.term
)
select stream as "stream!", share as "share!", epoch as "epoch!", term as "term!", false as "is_new!" from renewed where is_kept
union all
select stream, share, epoch, term, true from taken
