-- The fare of each trip, with the features that were known when it began
WITH places AS (
    SELECT
        location_id,
        latitude,
        longitude,
        borough,
        CASE borough
            WHEN 'Manhattan' THEN 1 WHEN 'Brooklyn' THEN 2 WHEN 'Queens' THEN 3 WHEN 'Bronx' THEN 4
            WHEN 'Staten Island' THEN 5 ELSE 0
        END AS borough_number,
        zone_type = 'airport' AS is_airport
    FROM zones
),
usual AS (
    SELECT zone, hour, busy_mean_7d FROM demand WHERE hour IN (SELECT at_hour FROM fares)
)
SELECT
    f.trip_id,
    f.fare AS fare_amount,
    f.distance AS trip_distance,
    f.minutes AS trip_duration_minutes,
    f.passengers AS passenger_count,
    f.from_zone AS pickup_zone_id,
    f.to_zone AS dropoff_zone_id,
    a.borough_number AS pickup_borough_encoded,
    b.borough_number AS dropoff_borough_encoded,
    SQRT((a.latitude - b.latitude) * (a.latitude - b.latitude)
        + (a.longitude - b.longitude) * (a.longitude - b.longitude)) * 111.0 AS zone_distance_km,
    a.is_airport OR b.is_airport AS is_airport_trip,
    a.borough <> b.borough AS is_cross_borough,
    h.hour_of_day AS pickup_hour,
    h.day_of_week AS pickup_day_of_week,
    h.is_rush_hour,
    h.is_weekend,
    COALESCE(h.condition_number, 1) AS weather_condition_encoded,
    COALESCE(h.temperature, 20.0) AS temperature_celsius,
    COALESCE(h.condition IN ('rain', 'snow', 'fog'), FALSE) AS is_bad_weather,
    COALESCE(f.route_7d, f.fare) AS avg_fare_same_route_7d,
    COALESCE(f.zone_1h, f.fare) AS avg_fare_pickup_zone_1h,
    CASE
        WHEN f.trips_1h / u.busy_mean_7d > 1.5 THEN 1.2
        WHEN f.trips_1h / u.busy_mean_7d < 0.5 THEN 0.8
        ELSE 1.0
    END AS surge_factor,
    CASE WHEN f.minutes > 0 THEN f.distance * 60.0 / f.minutes ELSE 0.0 END AS distance_duration_ratio,
    COALESCE(h.condition_number, 1) * f.distance AS weather_distance_interaction,
    CAST(h.is_rush_hour AS INT) * f.distance AS rush_hour_distance_interaction,
    h.date AS feature_date,
    run.now AS created_at
FROM fares f
JOIN hours h ON h.hour = f.at_hour
JOIN places a ON a.location_id = f.from_zone
JOIN places b ON b.location_id = f.to_zone
LEFT JOIN usual u ON u.zone = f.from_zone AND u.hour = f.at_hour
CROSS JOIN run
