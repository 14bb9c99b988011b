-- Sums of trips by day. Amounts are exact, so sums of several batches can be added.
SELECT
    CAST(pickup_datetime AS DATE) AS trip_date,
    CAST(COUNT(*) AS BIGINT) AS trips,
    SUM(CAST(passenger_count AS BIGINT)) AS passengers,
    SUM(CAST(trip_distance AS DECIMAL(38, 2))) AS distance,
    SUM(CAST(fare_amount AS DECIMAL(38, 2))) AS fare,
    SUM(CAST(tip_amount AS DECIMAL(38, 2))) AS tip,
    CAST(COUNT(tip_amount) AS BIGINT) AS tips,
    SUM(CAST(total_amount AS DECIMAL(38, 2))) AS total
FROM rows
GROUP BY trip_date
