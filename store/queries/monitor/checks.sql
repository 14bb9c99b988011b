-- Results of checks, week by week. All of them are counted in the index of their times, and the bad ones in an index of their own.
with weeks as (
    select week, (select count(*) from asset_check where at >= greatest(week, $1) and at < week + interval '1 week') as checks
    from generate_series(date_trunc('week', $1::timestamptz), now(), interval '1 week') as week
),
bad as (
    select date_trunc('week', at) as week, count(*) filter (where outcome = 'fail') as failed,
        count(*) filter (where outcome = 'quarantined') as quarantined
    from asset_check where at >= $1 and outcome in ('fail', 'quarantined') group by 1
)
select week as "week!", checks as "checks!", coalesce(b.failed, 0) as "failed!", coalesce(b.quarantined, 0) as "quarantined!"
from weeks left join bad b using (week) where checks > 0 order by week
