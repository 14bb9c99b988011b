-- Alerts of a time by what they tell, and how many of them reached nobody.
select kind as "kind!", count(*) as "alerts!", count(*) filter (where state = 'failed') as "lost!", max(at) as "last!"
from alert where at >= $1 and kind <> 'test' group by kind order by 2 desc, kind
