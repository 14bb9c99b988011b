-- Trips that began in each hour, and its weather
WITH began AS (
    SELECT
        hour,
        SUM(trips) AS trips,
        CAST(SUM(distance) AS DOUBLE) AS distance,
        CAST(SUM(fare) AS DOUBLE) AS fare,
        CAST(SUM(tips) AS DOUBLE) AS tips,
        SUM(tipped) AS tipped,
        SUM(micros) AS micros,
        SUM(timed) AS timed,
        COUNT(*) AS zones
    FROM cells
    WHERE trips > 0
    GROUP BY hour
)
SELECT
    h.date AS trip_date,
    h.hour_of_day AS hour,
    COALESCE(h.condition, 'unknown') AS weather_condition,
    h.temperature AS temperature_celsius,
    h.humidity AS humidity_percent,
    h.wind AS wind_speed_kmh,
    b.trips AS total_trips,
    b.distance / b.trips AS avg_trip_distance,
    b.fare / b.trips AS avg_fare_amount,
    CASE WHEN b.tipped > 0 THEN b.tips / b.tipped END AS avg_tip_amount,
    CASE WHEN b.timed > 0 THEN b.micros / (60000000.0 * b.timed) END AS avg_trip_duration_minutes,
    b.zones AS pickup_zone_diversity,
    run.now AS load_date,
    h.year,
    h.month,
    h.day
FROM began b
JOIN hours h ON h.hour = b.hour
CROSS JOIN run
