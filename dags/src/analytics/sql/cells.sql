-- A row for the beginning and a row for the end of each trip, to be summed by zone and hour. A trip counts where and when it
-- began. Its end counts in the hour in which it ended, if it began on that day or the day before.
SELECT
    CAST(pickup_datetime AS BIGINT) // 3600000000 AS hour,
    pickup_location_id AS zone,
    1 AS trips,
    0 AS dropoffs,
    trip_distance AS distance,
    fare_amount AS fare,
    tip_amount AS tips,
    CASE WHEN tip_amount IS NULL THEN 0 ELSE 1 END AS tipped,
    CASE
        WHEN fare_amount > 0
        THEN CAST(CAST(tip_amount AS DOUBLE) / CAST(fare_amount AS DOUBLE) * 100 AS DECIMAL(38, 12))
    END AS tip_percents,
    CASE WHEN dropoff_datetime >= pickup_datetime
        THEN CAST(dropoff_datetime AS BIGINT) - CAST(pickup_datetime AS BIGINT) END AS micros,
    CASE WHEN dropoff_datetime >= pickup_datetime THEN 1 ELSE 0 END AS timed
FROM rows
UNION ALL
SELECT
    CAST(dropoff_datetime AS BIGINT) // 3600000000 AS hour,
    dropoff_location_id AS zone,
    0 AS trips,
    1 AS dropoffs,
    CAST(NULL AS DECIMAL(12, 2)) AS distance,
    CAST(NULL AS DECIMAL(12, 2)) AS fare,
    CAST(NULL AS DECIMAL(12, 2)) AS tips,
    0 AS tipped,
    CAST(NULL AS DECIMAL(38, 12)) AS tip_percents,
    CAST(NULL AS BIGINT) AS micros,
    0 AS timed
FROM rows
WHERE CAST(dropoff_datetime AS BIGINT) // 86400000000 - CAST(pickup_datetime AS BIGINT) // 86400000000 BETWEEN 0 AND 1
