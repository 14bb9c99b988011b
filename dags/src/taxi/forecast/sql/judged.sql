-- The newest forecast of each borough and hour, made before its day, with the trips that came. Hours of days that were not loaded
-- are left out.
WITH loaded AS (
    SELECT DISTINCT hour // 24 AS day FROM pickups
),
known AS (
    SELECT s.hour, z.borough, SUM(COALESCE(p.trips, 0)) AS trips
    FROM span s
    JOIN loaded l ON l.day = s.hour // 24
    CROSS JOIN zones z
    LEFT JOIN pickups p ON p.hour = s.hour AND p.zone = z.location_id
    GROUP BY s.hour, z.borough
),
newest AS (
    SELECT
        *,
        CAST(prediction_hour AS BIGINT) // 3600000000 AS hour,
        ROW_NUMBER() OVER (PARTITION BY borough, prediction_hour ORDER BY reference_date DESC) AS age
    FROM forecasts
)
SELECT
    n.borough,
    n.prediction_hour,
    CAST(n.prediction_hour AS DATE) AS day,
    n.predicted_demand AS expected,
    n.lower_99,
    n.upper_99,
    n.expected_error,
    n.model_version,
    k.trips AS actual,
    w.trips AS week_ago,
    ROW_NUMBER() OVER (PARTITION BY n.borough, CAST(n.prediction_hour AS DATE) ORDER BY n.prediction_hour) AS place
FROM newest n
JOIN known k ON k.borough = n.borough AND k.hour = n.hour
LEFT JOIN known w ON w.borough = n.borough AND w.hour = n.hour - 168
WHERE n.age = 1
