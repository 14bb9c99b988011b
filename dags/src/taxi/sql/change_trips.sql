-- Raises the tips of up to five recent trips
update taxi.trips t set tip_amount = t.tip_amount + 1, total_amount = t.total_amount + 1
from (select id from taxi.trips order by id desc limit 500) recent
where t.id = recent.id and t.id in (select id from (select id from taxi.trips order by id desc limit 500) r
    order by random() limit 1 + floor(random() * 5)::int)
