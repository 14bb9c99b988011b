-- Zones in the windows in which trips were made or changed there
SELECT
    CAST(w.number * 300000000 AS TIMESTAMP) AS window_start,
    CAST((w.number + 1) * 300000000 AS TIMESTAMP) AS window_end,
    w.zone AS pickup_zone_id,
    w.trips AS total_trips,
    w.total AS total_revenue,
    w.distance / w.trips AS avg_trip_distance,
    w.fare / w.trips AS avg_fare_amount,
    w.vendors AS unique_vendors,
    run.now AS processed_at
FROM windows w
JOIN hours h ON h.hour = w.number // 12
CROSS JOIN run
WHERE w.trips > 0
