-- One row for each day, from all sums of its trips. Trips without a tip do not count for the mean of tips
-- required: trip_date, year, month, total_trips, total_passengers, avg_trip_distance, avg_fare_amount, avg_total_amount, last_updated
-- chart: select * from (select trip_date, total_trips as "trips per day" from nyc_taxi.daily_summary order by 1 desc limit 366) order by 1
WITH days AS (
    SELECT
        trip_date,
        SUM(trips) AS trips,
        SUM(passengers) AS passengers,
        CAST(SUM(distance) AS DOUBLE) AS distance,
        CAST(SUM(fare) AS DOUBLE) AS fare,
        CAST(SUM(tip) AS DOUBLE) AS tip,
        SUM(tips) AS tips,
        CAST(SUM(total) AS DOUBLE) AS total
    FROM sums
    GROUP BY trip_date
)
SELECT
    trip_date,
    EXTRACT(YEAR FROM trip_date) AS year,
    CAST(EXTRACT(MONTH FROM trip_date) AS INT) AS month,
    trips AS total_trips,
    passengers AS total_passengers,
    distance / trips AS avg_trip_distance,
    fare / trips AS avg_fare_amount,
    CASE WHEN tips > 0 THEN tip / tips END AS avg_tip_amount,
    total / trips AS avg_total_amount,
    CAST(micros AS TIMESTAMP) AS last_updated
FROM days
CROSS JOIN clock
ORDER BY trip_date
