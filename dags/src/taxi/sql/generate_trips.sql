-- 100 trips of the last minutes between random places in the city
insert into taxi.trips (vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, pickup_longitude, pickup_latitude,
    dropoff_longitude, dropoff_latitude, payment_type, fare_amount, extra, mta_tax, tip_amount, tolls_amount, total_amount)
select vendor, now() - lasts, now(), guests, miles, -74.01 + 0.24 * a, 40.65 + 0.2 * b, -74.01 + 0.24 * c, 40.65 + 0.2 * d, pays, fare,
    extra, 0.5, tip, tolls, fare + extra + 0.5 + tip + tolls
from (
    select 1 + floor(random() * 3)::int as vendor, lasts, 1 + floor(random() * 4)::int as guests, miles, random() as a, random() as b,
        random() as c, random() as d, pays, fare, extra, tolls, case when pays = 1 then round(fare * 0.2, 2) else 0 end as tip
    from (
        select miles, make_interval(secs => 120 + 240 * miles::float8) as lasts, round(3 + 2.5 * miles, 2) as fare,
            (array[0, 0.5, 1])[1 + floor(random() * 3)::int] as extra, case when random() < 0.1 then 6.55 else 0 end as tolls,
            case when random() < 0.7 then 1 else 2 + floor(random() * 3)::int end as pays
        from (select round((0.5 + 12 * random() * random())::numeric, 2) as miles from generate_series(1, 100)) n
    ) costs
) trips
