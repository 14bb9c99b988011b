-- Counts and means of the trips of each day. Trips without a tip do not count in the mean of tips
-- required: trip_date, year, month, total_trips, total_passengers, avg_trip_distance, avg_fare_amount, avg_total_amount, last_updated
-- chart: select * from (select trip_date, total_trips as "trips per day" from nyc_taxi.daily_summary order by 1 desc limit 366) order by 1
SELECT
    trip_date,
    EXTRACT(YEAR FROM trip_date) AS year,
    CAST(EXTRACT(MONTH FROM trip_date) AS INT) AS month,
    SUM(trips) AS total_trips,
    SUM(passengers) AS total_passengers,
    CAST(SUM(distance) AS DOUBLE) / SUM(trips) AS avg_trip_distance,
    CAST(SUM(fare) AS DOUBLE) / SUM(trips) AS avg_fare_amount,
    CASE WHEN SUM(tips) > 0 THEN CAST(SUM(tip) AS DOUBLE) / SUM(tips) END AS avg_tip_amount,
    CAST(SUM(total) AS DOUBLE) / SUM(trips) AS avg_total_amount,
    CAST(micros AS TIMESTAMP) AS last_updated
FROM sums
CROSS JOIN clock
GROUP BY trip_date, year, month, last_updated
ORDER BY trip_date
