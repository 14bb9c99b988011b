-- Events of each zone in windows of five minutes, numbered from 1970. An event counts where its trip began, as a trip, and where it
-- ended, as a dropoff.
WITH began AS (
    SELECT
        number,
        from_zone AS zone,
        COUNT(*) AS trips,
        SUM(total) AS total,
        SUM(distance) AS distance,
        SUM(fare) AS fare,
        COUNT(DISTINCT vendor) AS vendors
    FROM events
    WHERE from_zone IS NOT NULL
    GROUP BY number, zone
),
ended AS (
    SELECT number, to_zone AS zone, COUNT(*) AS dropoffs FROM events WHERE to_zone IS NOT NULL GROUP BY number, zone
),
active AS (
    SELECT number, zone FROM began UNION SELECT number, zone FROM ended
)
SELECT
    a.number,
    a.zone,
    COALESCE(b.trips, 0) AS trips,
    COALESCE(CAST(b.total AS DOUBLE), 0.0) AS total,
    COALESCE(CAST(b.distance AS DOUBLE), 0.0) AS distance,
    COALESCE(CAST(b.fare AS DOUBLE), 0.0) AS fare,
    COALESCE(b.vendors, 0) AS vendors,
    COALESCE(e.dropoffs, 0) AS dropoffs
FROM active a
LEFT JOIN began b ON b.number = a.number AND b.zone = a.zone
LEFT JOIN ended e ON e.number = a.number AND e.zone = a.zone
