-- Zones in the hours in which trips began or ended there
WITH usual AS (
    SELECT zone, hour // 24 AS day, SUM(trips) AS trips, COUNT(*) AS hours FROM cells WHERE trips > 0 GROUP BY zone, day
)
SELECT
    z.location_id,
    z.zone AS zone_name,
    z.borough,
    z.zone_type,
    z.is_tourist_area,
    z.is_business_district,
    h.date AS trip_date,
    h.hour_of_day AS hour,
    COALESCE(h.condition, 'unknown') AS weather_condition,
    c.trips AS total_pickups,
    c.dropoffs AS total_dropoffs,
    CASE WHEN c.trips > 0 THEN CAST(c.fare AS DOUBLE) / c.trips END AS avg_fare_per_pickup,
    CASE WHEN c.tipped > 0 THEN CAST(c.tip_percents AS DOUBLE) / c.tipped END AS avg_tip_percentage,
    CASE WHEN c.trips > 0 THEN CAST(c.distance AS DOUBLE) / c.trips END AS avg_trip_distance,
    COALESCE(c.trips / (u.trips / u.hours), 1.0) AS peak_hour_factor,
    CASE WHEN h.condition IN ('rain', 'snow') THEN 1.2 WHEN h.condition = 'fog' THEN 1.1 ELSE 1.0 END
        AS weather_impact_score,
    run.now AS load_date,
    h.year,
    h.month
FROM cells c
JOIN hours h ON h.hour = c.hour
JOIN zones z ON z.location_id = c.zone
LEFT JOIN usual u ON u.zone = c.zone AND u.day = c.hour // 24
CROSS JOIN run
