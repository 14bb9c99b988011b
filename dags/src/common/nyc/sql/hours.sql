-- Hours with their calendar and their weather, which is null in hours without a reading. The reading that was loaded last
-- counts. In the hour that clocks show twice in autumn, it is the later one of those that were loaded together.
WITH calendar AS (
    SELECT hour, CAST(hour * 3600000000 AS TIMESTAMP) AS at FROM span
),
weather AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY year, month, day, hour ORDER BY load_date DESC, timestamp DESC) AS age
    FROM readings
)
SELECT
    c.hour,
    c.at,
    CAST(c.at AS DATE) AS date,
    EXTRACT(YEAR FROM c.at) AS year,
    EXTRACT(MONTH FROM c.at) AS month,
    EXTRACT(DAY FROM c.at) AS day,
    EXTRACT(HOUR FROM c.at) AS hour_of_day,
    EXTRACT(DOW FROM c.at) + 1 AS day_of_week,
    EXTRACT(DOW FROM c.at) IN (0, 6) AS is_weekend,
    EXTRACT(HOUR FROM c.at) IN (7, 8, 9, 17, 18, 19) AS is_rush_hour,
    w.weather_condition AS condition,
    w.temperature_celsius AS temperature,
    w.humidity_percent AS humidity,
    w.wind_speed_kmh AS wind,
    CASE COALESCE(w.weather_condition, 'clear')
        WHEN 'clear' THEN 1 WHEN 'cloudy' THEN 2 WHEN 'rain' THEN 3 WHEN 'snow' THEN 4 WHEN 'fog' THEN 5
    END AS condition_number,
    CASE
        WHEN w.weather_condition IN ('rain', 'snow') THEN 1.3
        WHEN w.weather_condition = 'fog' THEN 1.1
        WHEN w.temperature_celsius < 0 THEN 1.2
        WHEN w.temperature_celsius > 30 THEN 1.1
        ELSE 1.0
    END AS weather_impact
FROM calendar c
LEFT JOIN (SELECT * FROM weather WHERE age = 1) w
    ON EXTRACT(YEAR FROM c.at) = w.year AND EXTRACT(MONTH FROM c.at) = w.month
    AND EXTRACT(DAY FROM c.at) = w.day AND EXTRACT(HOUR FROM c.at) = w.hour
