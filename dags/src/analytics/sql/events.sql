-- Trips that were made or changed. Rows that a connector reads at its start (`r`) are not events, and a deletion is not a trip.
WITH changes AS (
    SELECT
        kafka_partition,
        kafka_offset,
        CAST(event_ts AS BIGINT) // 300000000 AS number,
        vendor_id AS vendor,
        CAST(trip_distance AS DECIMAL(12, 2)) AS distance,
        CAST(fare_amount AS DECIMAL(12, 2)) AS fare,
        CAST(total_amount AS DECIMAL(12, 2)) AS total,
        CAST(pickup_longitude AS DOUBLE) AS pickup_longitude,
        CAST(pickup_latitude AS DOUBLE) AS pickup_latitude,
        CAST(dropoff_longitude AS DOUBLE) AS dropoff_longitude,
        CAST(dropoff_latitude AS DOUBLE) AS dropoff_latitude
    FROM rows
    WHERE op IN ('c', 'u')
)
SELECT * FROM changes WHERE fare > 0 AND distance IS NOT NULL AND total IS NOT NULL
