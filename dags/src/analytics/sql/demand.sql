-- Every zone in every hour of the run's days that have trips: how many began, and what was known before. Days on which no
-- trip began in the city were never loaded: their hours are null, not 0, and no mean counts them.
WITH loaded AS (
    SELECT DISTINCT hour // 24 AS day FROM pickups
),
known AS (
    SELECT s.hour, z.location_id AS zone, CASE WHEN l.day IS NOT NULL THEN COALESCE(p.trips, 0) END AS trips
    FROM span s
    CROSS JOIN zones z
    LEFT JOIN loaded l ON l.day = s.hour // 24
    LEFT JOIN pickups p ON p.hour = s.hour AND p.zone = z.location_id
),
lags AS (
    SELECT
        hour,
        zone,
        CAST(trips AS BIGINT) AS trips,
        LAG(CAST(trips AS BIGINT), 168) OVER (PARTITION BY zone ORDER BY hour) AS ago_168h
    FROM known
),
-- Sums over all hours before and including the hour.
totals AS (
    SELECT
        hour,
        zone,
        trips,
        ago_168h,
        SUM(CASE WHEN trips IS NULL THEN 0 ELSE 1 END) OVER (PARTITION BY zone ORDER BY hour) AS hours,
        SUM(CASE WHEN trips > 0 THEN 1 ELSE 0 END) OVER (PARTITION BY zone ORDER BY hour) AS busy,
        SUM(COALESCE(trips, 0)) OVER (PARTITION BY zone ORDER BY hour) AS total,
        SUM(COALESCE(trips * trips, 0)) OVER (PARTITION BY zone ORDER BY hour) AS squares,
        SUM(COALESCE(ABS(trips - ago_168h), 0)) OVER (PARTITION BY zone ORDER BY hour) AS missed,
        SUM(COALESCE(trips + ago_168h, 0)) OVER (PARTITION BY zone ORDER BY hour) AS compared
    FROM lags
),
-- Sums over the 168 or 720 hours before the hour.
past AS (
    SELECT
        hour,
        zone,
        trips,
        ago_168h,
        LAG(trips, 1) OVER (PARTITION BY zone ORDER BY hour) AS ago_1h,
        LAG(trips, 2) OVER (PARTITION BY zone ORDER BY hour) AS ago_2h,
        LAG(trips, 3) OVER (PARTITION BY zone ORDER BY hour) AS ago_3h,
        LAG(trips, 24) OVER (PARTITION BY zone ORDER BY hour) AS ago_24h,
        LAG(hours, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(hours, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS hours_7d,
        LAG(busy, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(busy, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS busy_7d,
        LAG(total, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(total, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS trips_7d,
        LAG(squares, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(squares, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS squares_7d,
        LAG(missed, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(missed, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS missed_7d,
        LAG(compared, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(compared, 169) OVER (PARTITION BY zone ORDER BY hour), 0) AS compared_7d,
        LAG(hours, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(hours, 721) OVER (PARTITION BY zone ORDER BY hour), 0) AS hours_30d,
        LAG(total, 1) OVER (PARTITION BY zone ORDER BY hour)
            - COALESCE(LAG(total, 721) OVER (PARTITION BY zone ORDER BY hour), 0) AS trips_30d
    FROM totals
),
own AS (
    SELECT p.* FROM past p JOIN hours h ON h.hour = p.hour WHERE p.trips IS NOT NULL
),
-- Zones by their trips in the 30 days before the day, and how well "as many as a week ago" did in the 7 days before.
ranks AS (
    SELECT
        hour // 24 AS day,
        zone,
        CASE WHEN compared_7d > 0 THEN 1.0 - missed_7d / compared_7d END AS confidence,
        CASE WHEN hours_30d > 0 THEN ROW_NUMBER() OVER (PARTITION BY hour ORDER BY trips_30d, zone) - 1 END AS place,
        COUNT(*) OVER (PARTITION BY hour) AS zones
    FROM own
    WHERE hour % 24 = 0
),
-- Ten equal buckets, the first ones larger by one if the zones do not divide by ten: NTILE(10).
baselines AS (
    SELECT
        day,
        zone,
        confidence,
        CASE
            WHEN place < (zones % 10) * (zones // 10 + 1) THEN 1 + place // (zones // 10 + 1)
            ELSE 1 + zones % 10 + (place - (zones % 10) * (zones // 10 + 1)) // GREATEST(zones // 10, 1)
        END AS popularity
    FROM ranks
),
distances AS (
    SELECT
        a.location_id AS zone,
        b.location_id AS other,
        ROW_NUMBER() OVER (
            PARTITION BY a.location_id
            ORDER BY SQRT((a.latitude - b.latitude) * (a.latitude - b.latitude)
                + (a.longitude - b.longitude) * (a.longitude - b.longitude)), b.location_id
        ) AS place
    FROM zones a
    CROSS JOIN zones b
    WHERE a.location_id <> b.location_id AND a.latitude + a.longitude + b.latitude + b.longitude IS NOT NULL
),
nearby AS (
    SELECT d.zone, o.hour, SUM(o.ago_1h) AS trips
    FROM distances d
    JOIN own o ON o.zone = d.other
    WHERE d.place <= 5 AND o.ago_1h IS NOT NULL
    GROUP BY d.zone, o.hour
)
SELECT
    o.hour,
    o.zone,
    o.trips,
    o.ago_1h,
    o.ago_2h,
    o.ago_3h,
    o.ago_24h,
    o.ago_168h,
    CASE WHEN o.hours_7d > 0 THEN o.trips_7d / o.hours_7d END AS mean_7d,
    CASE WHEN o.busy_7d > 0 THEN o.trips_7d / o.busy_7d END AS busy_mean_7d,
    CASE WHEN o.hours_30d > 0 THEN o.trips_30d / o.hours_30d END AS mean_30d,
    CASE
        WHEN o.hours_7d > 1
        THEN SQRT((o.hours_7d * o.squares_7d - o.trips_7d * o.trips_7d) / (o.hours_7d * (o.hours_7d - 1)))
    END AS deviation_7d,
    n.trips AS nearby,
    b.popularity,
    b.confidence
FROM own o
LEFT JOIN nearby n ON n.zone = o.zone AND n.hour = o.hour
LEFT JOIN baselines b ON b.zone = o.zone AND b.day = o.hour // 24
