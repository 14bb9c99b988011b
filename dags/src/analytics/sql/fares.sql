-- Trips between zones of the city, by the time at which they began
SELECT
    CAST(t.pickup_datetime AS BIGINT) AS pickup,
    CAST(t.pickup_datetime AS BIGINT) // 3600000000 AS at_hour,
    CAST(t.dropoff_datetime AS BIGINT) AS dropoff,
    CAST(CAST(t.dropoff_datetime AS BIGINT) - CAST(t.pickup_datetime AS BIGINT) AS DOUBLE) / 60000000 AS minutes,
    t.vendor_id AS vendor,
    t.pickup_location_id AS from_zone,
    t.dropoff_location_id AS to_zone,
    t.passenger_count AS passengers,
    CAST(t.trip_distance AS DOUBLE) AS distance,
    CAST(t.fare_amount AS DOUBLE) AS fare,
    CAST(ROUND(CAST(t.trip_distance AS DOUBLE) * 100) AS BIGINT) AS hundredths,
    CAST(ROUND(CAST(t.fare_amount AS DOUBLE) * 100) AS BIGINT) AS cents,
    CAST(ROUND(CAST(t.tip_amount AS DOUBLE) * 100) AS BIGINT) AS tip_cents,
    CAST(ROUND(CAST(t.total_amount AS DOUBLE) * 100) AS BIGINT) AS total_cents
FROM rows t
WHERE t.pickup_location_id IN (SELECT location_id FROM zones)
    AND t.dropoff_location_id IN (SELECT location_id FROM zones)
    AND t.fare_amount > 0 AND t.trip_distance > 0
ORDER BY pickup
