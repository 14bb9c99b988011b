-- Trips between zones of the city, by the time at which they began
SELECT
    CAST(t.pickup_datetime AS BIGINT) AS pickup,
    CAST(t.pickup_datetime AS BIGINT) // 3600000000 AS at_hour,
    CAST(t.dropoff_datetime AS BIGINT) - CAST(t.pickup_datetime AS BIGINT) AS micros,
    t.pickup_location_id AS from_zone,
    t.dropoff_location_id AS to_zone,
    CAST(t.fare_amount AS DOUBLE) AS fare,
    CAST(ROUND(CAST(t.fare_amount AS DOUBLE) * 100) AS BIGINT) AS cents,
    CAST(t.trip_distance AS DOUBLE) AS distance,
    t.passenger_count AS passengers,
    CONCAT(
        COALESCE(CAST(t.vendor_id AS VARCHAR), ''), '_', CAST(t.pickup_datetime AS BIGINT) // 1000000, '_'
    ) AS id_start,
    CONCAT(
        COALESCE(CAST(t.vendor_id AS VARCHAR), ''), '|', CAST(t.pickup_datetime AS BIGINT), '|',
        CAST(t.dropoff_datetime AS BIGINT), '|', t.pickup_location_id, '|', t.dropoff_location_id, '|',
        t.passenger_count, '|', CAST(ROUND(CAST(t.trip_distance AS DOUBLE) * 100) AS BIGINT), '|',
        CAST(ROUND(CAST(t.fare_amount AS DOUBLE) * 100) AS BIGINT), '|',
        COALESCE(CAST(CAST(ROUND(CAST(t.tip_amount AS DOUBLE) * 100) AS BIGINT) AS VARCHAR), ''), '|',
        CAST(ROUND(CAST(t.total_amount AS DOUBLE) * 100) AS BIGINT)
    ) AS all_columns
FROM rows t
JOIN zones a ON a.location_id = t.pickup_location_id
JOIN zones b ON b.location_id = t.dropoff_location_id
WHERE t.fare_amount > 0 AND t.trip_distance > 0
ORDER BY pickup
