-- Zones at the end of each window in which something happened there, with the sums of the last hour: the window and the eleven
-- before it. If several destinations are equally frequent, the top one is the zone with the lowest number.
WITH began AS (
    SELECT
        number,
        from_zone AS zone,
        to_zone,
        COUNT(*) AS trips,
        SUM(total) AS total,
        SUM(fare) AS fare
    FROM events
    WHERE from_zone IS NOT NULL
    GROUP BY number, zone, to_zone
),
-- Each window counts in itself and in the eleven windows after it.
counted AS (
    SELECT number + later AS number, zone, to_zone, trips, total, fare FROM began CROSS JOIN following
),
last_hour AS (
    SELECT number, zone, to_zone, SUM(trips) AS trips, SUM(total) AS total, SUM(fare) AS fare
    FROM counted
    GROUP BY number, zone, to_zone
),
sums AS (
    SELECT
        number,
        zone,
        SUM(trips) AS trips,
        CAST(SUM(total) AS DOUBLE) AS total,
        CAST(SUM(fare) AS DOUBLE) AS fare
    FROM last_hour
    GROUP BY number, zone
),
destinations AS (
    SELECT
        number,
        zone,
        to_zone,
        ROW_NUMBER() OVER (PARTITION BY number, zone ORDER BY -trips, to_zone) AS place
    FROM last_hour
    WHERE to_zone IS NOT NULL
)
SELECT
    w.zone AS zone_id,
    CAST((w.number + 1) * 300000000 AS TIMESTAMP) AS activity_timestamp,
    w.trips AS pickup_count,
    w.dropoffs AS dropoff_count,
    COALESCE(s.total, 0.0) AS revenue_last_hour,
    s.fare / s.trips AS avg_fare_last_hour,
    d.to_zone AS top_destination_zone,
    0.4 * w.trips + 0.4 * w.total / 100.0 + 0.2 * w.vendors AS activity_score,
    run.now AS processed_at
FROM windows w
JOIN hours h ON h.hour = w.number // 12
LEFT JOIN sums s ON s.number = w.number AND s.zone = w.zone
LEFT JOIN (SELECT * FROM destinations WHERE place = 1) d ON d.number = w.number AND d.zone = w.zone
CROSS JOIN run
