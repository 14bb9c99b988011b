-- Results of checks, week by week, and how often an asset was found stale.
select date_trunc('week', at) as "week!", count(*) as "checks!",
    count(*) filter (where outcome = 'fail') as "failed!", count(*) filter (where outcome = 'quarantined') as "quarantined!"
from asset_check where at >= $1 group by 1 order by 1
