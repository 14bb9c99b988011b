"""The tables of the analytics as joins and windows of SQL, for DuckDB. They are those of docs/guides/analytics.md."""


def prepare(db, first, last):
    """Makes what the tables are told from, for these days, where `trips`, `zones`, `weather` and `forecasts` are there."""
    for name, value in (("first_day", first), ("last_day", last)):
        db.execute(f"create or replace macro {name}() as date '{value}'")
    db.execute("create or replace macro is_ours(day) as day between first_day() and last_day()")
    # Every zone in every hour of the days that have trips.
    db.execute(
        """
        create or replace table demand as
        with known as (select distinct pickup::date as day from trips
                where pickup::date between first_day() - 31 and last_day()),
            hours as (select day + to_hours(h) as hour from known, range(24) r(h)),
            counts as (select pu, date_trunc('hour', pickup) as hour, count(*) as n from trips group by all)
        select z.location_id as zone, hours.hour, coalesce(n, 0) as n from zones z cross join hours
            left join counts on pu = z.location_id and counts.hour = hours.hour
        """
    )
    db.execute(
        """
        create or replace table looked as
        select zone, hour, n,
            avg(n) over week as mean_7d, avg(n) over month as mean_30d, stddev_samp(n) over week as std_7d
        from demand window
            week as (partition by zone order by hour range between interval 168 hours preceding and interval 1 hour preceding),
            month as (partition by zone order by hour range between interval 720 hours preceding and interval 1 hour preceding)
        """
    )
    db.execute(
        """
        create or replace table popularity as
        select d.day, zone, ntile(10) over (partition by d.day order by avg(n), zone) as score
        from demand, (select unnest(range(first_day(), last_day() + 1, interval 1 day))::date as day) d
        where hour >= d.day - 30 and hour < d.day group by d.day, zone
        """
    )
    db.execute(
        """
        create or replace table confidence as
        select d.day, one.zone,
            case when sum(one.n + other.n) > 0 then 1 - sum(abs(one.n - other.n)) / sum(one.n + other.n) end as score
        from (select unnest(range(first_day(), last_day() + 1, interval 1 day))::date as day) d, demand one, demand other
        where one.zone = other.zone and other.hour = one.hour - interval 168 hours
            and one.hour >= d.day - 7 and one.hour < d.day group by d.day, one.zone
        """
    )
    db.execute(
        """
        create or replace table near as
        select one.location_id as zone, other.location_id as other from zones one, zones other
        where one.location_id <> other.location_id and one.latitude is not null and other.latitude is not null
        qualify row_number() over (partition by one.location_id order by
            sqrt((one.latitude - other.latitude) ** 2 + (one.longitude - other.longitude) ** 2), other.location_id) <= 5
        """
    )
    db.execute(
        """
        create or replace table features as
        select looked.*, w.*exclude (hour), z.* exclude (location_id), ago1.n as n1, ago2.n as n2, ago3.n as n3, ago24.n as n24, ago168.n as n168,
            (select sum(d.n)::bigint from near, demand d where near.zone = looked.zone and d.zone = near.other
                and d.hour = looked.hour - interval 1 hour) as nearby,
            popularity.score as popularity,
            case when forecasts.zone is null then confidence.score else forecasts.sure end as confidence,
            case when forecasts.zone is null then ago168.n else round(forecasts.demand)::bigint end as predicted,
            date_part('dow', looked.hour) + 1 as dow
        from looked join zones z on z.location_id = looked.zone
            left join weather w on w.hour = looked.hour
            left join demand ago1 on ago1.zone = looked.zone and ago1.hour = looked.hour - interval 1 hour
            left join demand ago2 on ago2.zone = looked.zone and ago2.hour = looked.hour - interval 2 hours
            left join demand ago3 on ago3.zone = looked.zone and ago3.hour = looked.hour - interval 3 hours
            left join demand ago24 on ago24.zone = looked.zone and ago24.hour = looked.hour - interval 24 hours
            left join demand ago168 on ago168.zone = looked.zone and ago168.hour = looked.hour - interval 168 hours
            left join popularity on popularity.zone = looked.zone and popularity.day = looked.hour::date
            left join confidence on confidence.zone = looked.zone and confidence.day = looked.hour::date
            left join forecasts on forecasts.zone = looked.zone and forecasts.hour = looked.hour
        where is_ours(looked.hour::date)
        """
    )
    db.execute(
        """
        create or replace macro encoded(condition, other) as case coalesce(condition, 'clear') when 'clear' then 1 when 'cloudy' then 2
            when 'rain' then 3 when 'snow' then 4 when 'fog' then 5 else other end;
        create or replace macro impact(condition, t) as case when condition in ('rain', 'snow') then 1.3 when condition = 'fog' then 1.1
            when t < 0 then 1.2 when t > 30 then 1.1 else 1.0 end;
        create or replace macro borough_number(b) as case b when 'Manhattan' then 1 when 'Brooklyn' then 2 when 'Queens' then 3
            when 'Bronx' then 4 when 'Staten Island' then 5 else 0 end;
        """
    )


# Table: its key and its rows.
EXPECTED = {
    "analytics.trip_weather_correlation": (("trip_date", "hour", "weather_condition"), """
        select pickup::date as trip_date, hour(pickup) as hour, coalesce(condition, 'unknown') as weather_condition,
            any_value(temperature) as temperature_celsius, any_value(humidity) as humidity_percent,
            any_value(wind) as wind_speed_kmh, count(*) as total_trips, avg(distance) as avg_trip_distance,
            avg(fare) as avg_fare_amount, avg(tip) as avg_tip_amount,
            avg(case when dropoff >= pickup then epoch(dropoff - pickup) / 60 end) as avg_trip_duration_minutes,
            count(distinct pu) as pickup_zone_diversity, year(pickup::date) as year, month(pickup::date) as month,
            day(pickup::date) as day
        from trips left join weather on weather.hour = date_trunc('hour', pickup) where is_ours(pickup::date)
        group by all"""),
    "analytics.zone_performance_metrics": (("location_id", "trip_date", "hour"), """
        with ups as (select pu as zone, date_trunc('hour', pickup) as slot, count(*) as n, avg(fare) as fare,
                avg(tip / fare * 100) as share, avg(distance) as distance
                from trips where is_ours(pickup::date) group by all),
            downs as (select dest as zone, date_trunc('hour', dropoff) as slot, count(*) as n from trips
                where is_ours(dropoff::date) and dropoff::date - pickup::date between 0 and 1 group by all),
            usual as (select zone, slot::date as day, avg(n) as n from ups group by all),
            both_ways as (select coalesce(ups.zone, downs.zone) as zone, coalesce(ups.slot, downs.slot) as slot,
                coalesce(ups.n, 0) as pickups, coalesce(downs.n, 0) as dropoffs, fare, share, distance
                from ups full join downs on ups.zone = downs.zone and ups.slot = downs.slot)
        select b.zone as location_id, z.zone as zone_name, borough, zone_type, is_tourist_area, is_business_district,
            slot::date as trip_date, hour(slot) as hour, coalesce(condition, 'unknown') as weather_condition,
            pickups as total_pickups, dropoffs as total_dropoffs, fare as avg_fare_per_pickup,
            share as avg_tip_percentage, distance as avg_trip_distance, coalesce(pickups / usual.n, 1.0) as peak_hour_factor,
            case when condition in ('rain', 'snow') then 1.2 when condition = 'fog' then 1.1 else 1.0 end
                as weather_impact_score, year(slot) as year, month(slot) as month
        from both_ways b join zones z on z.location_id = b.zone
            left join usual on usual.zone = b.zone and usual.day = slot::date left join weather on weather.hour = slot"""),
    "analytics.demand_prediction_features": (("location_id", "prediction_datetime"), """
        select zone as location_id, hour as prediction_datetime, hour(hour) as hour, dow as day_of_week,
            dow in (1, 7) as is_weekend, false as is_holiday, temperature as temperature_celsius,
            coalesce(condition, 'unknown') as weather_condition, n1 as historical_demand_1h_ago,
            n24 as historical_demand_24h_ago, n168 as historical_demand_168h_ago, mean_7d as rolling_avg_demand_7d,
            mean_30d as rolling_avg_demand_30d, zone_type, is_tourist_area, is_business_district,
            nearby as nearby_zones_demand, impact(condition, temperature) as weather_impact_factor, 1.0 as event_factor,
            year(hour) as year, month(hour) as month
        from features"""),
    "ml.demand_prediction_features": (("location_id", "prediction_hour"), """
        select zone as location_id, hour as prediction_hour, n as target_demand, hour(hour) as hour_of_day,
            dow as day_of_week, day(hour) as day_of_month, month(hour) as month, dow in (1, 7) as is_weekend,
            false as is_holiday, coalesce(temperature, 20) as temperature_celsius,
            coalesce(humidity, 50) as humidity_percent, coalesce(wind, 5) as wind_speed_kmh,
            encoded(condition, 0) as weather_condition_encoded, coalesce(n1, 0) as demand_1h_ago,
            coalesce(n24, 0) as demand_24h_ago, coalesce(n168, 0) as demand_168h_ago,
            coalesce(mean_7d, 0) as rolling_avg_7d, coalesce(mean_30d, 0) as rolling_avg_30d,
            coalesce(std_7d, 1) as rolling_std_7d,
            case zone_type when 'airport' then 3 when 'neighborhood' then 1 else 2 end as zone_type_encoded,
            is_tourist_area::int as is_tourist_area_flag, is_business_district::int as is_business_district_flag,
            coalesce(popularity, 5) as zone_popularity_score,
            coalesce(temperature, 20) * hour(hour) as temp_hour_interaction,
            encoded(condition, 0) * (dow in (1, 7))::int as weather_weekend_interaction,
            (is_tourist_area and dow in (1, 7))::int as tourist_weekend_interaction, coalesce(n2, 0) as demand_lag_2h,
            coalesce(n3, 0) as demand_lag_3h, coalesce(n168, 0) as demand_same_hour_last_week,
            predicted as predicted_demand, impact(condition, temperature) as weather_impact_factor,
            confidence as confidence_score, hour::date as feature_date
        from features"""),
    "ml.fare_prediction_features": (("trip_id",), """
        with busy as (select zone, hour, n from demand where n > 0),
            known as (select *, avg(fare) over route as route_7d, avg(fare) over around as zone_1h,
                count(*) over around as before, date_trunc('hour', pickup) as hour,
                concat_ws('|', coalesce(vendor::varchar, ''), epoch_us(pickup), epoch_us(dropoff), pu, dest, passengers,
                    (distance * 100)::bigint, (fare * 100)::bigint, coalesce((tip * 100)::bigint::varchar, ''),
                    (total * 100)::bigint) as said
                from trips where pickup::date between first_day() - 8 and last_day() window
                route as (partition by pu, dest order by pickup
                    range between interval 7 days preceding and interval 1 microsecond preceding),
                around as (partition by pu order by pickup
                    range between interval 1 hour preceding and interval 1 microsecond preceding)),
            ours as (select *, row_number() over (partition by said) as twin from known where is_ours(pickup::date)),
            usual as (select pu, o.hour, avg(n) as n from (select distinct pu, hour from ours) o join busy
                on busy.zone = o.pu and busy.hour >= o.hour - interval 168 hours and busy.hour < o.hour group by all)
        select concat(vendor, '_', epoch(pickup)::bigint, '_', left(sha256(said), 12),
                case when twin > 1 then '_' || twin else '' end) as trip_id,
            fare as fare_amount, distance as trip_distance, epoch(dropoff - pickup) / 60 as trip_duration_minutes,
            passengers as passenger_count, ours.pu as pickup_zone_id, dest as dropoff_zone_id,
            borough_number(a.borough) as pickup_borough_encoded, borough_number(b.borough) as dropoff_borough_encoded,
            sqrt((a.latitude - b.latitude) ** 2 + (a.longitude - b.longitude) ** 2) * 111 as zone_distance_km,
            a.zone_type = 'airport' or b.zone_type = 'airport' as is_airport_trip, a.borough <> b.borough as is_cross_borough,
            hour(pickup) as pickup_hour, date_part('dow', pickup) + 1 as pickup_day_of_week,
            hour(pickup) between 7 and 9 or hour(pickup) between 17 and 19 as is_rush_hour,
            date_part('dow', pickup) in (0, 6) as is_weekend, encoded(condition, 1) as weather_condition_encoded,
            coalesce(temperature, 20) as temperature_celsius,
            coalesce(condition in ('rain', 'snow', 'fog'), false) as is_bad_weather,
            coalesce(route_7d, fare) as avg_fare_same_route_7d, coalesce(zone_1h, fare) as avg_fare_pickup_zone_1h,
            case when (before + 1) / usual.n > 1.5 then 1.2 when (before + 1) / usual.n < 0.5 then 0.8 else 1.0 end
                as surge_factor,
            case when dropoff > pickup then distance::double / (epoch(dropoff - pickup) / 3600) else 0 end
                as distance_duration_ratio,
            encoded(condition, 1) * distance as weather_distance_interaction,
            (hour(pickup) between 7 and 9 or hour(pickup) between 17 and 19)::int * distance as rush_hour_distance_interaction,
            pickup::date as feature_date
        from ours join zones a on a.location_id = ours.pu join zones b on b.location_id = dest
            left join weather on weather.hour = ours.hour left join usual on usual.pu = ours.pu and usual.hour = ours.hour"""),
}
