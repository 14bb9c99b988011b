-- The demand of every zone and hour for models: numbers only, and the newest forecast that was made before the day
WITH newest AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY location_id, prediction_hour ORDER BY reference_date DESC) AS age
    FROM forecasts
)
SELECT
    z.location_id,
    h.at AS prediction_hour,
    d.trips AS target_demand,
    h.hour_of_day,
    h.day_of_week,
    h.day AS day_of_month,
    h.month,
    h.is_weekend,
    FALSE AS is_holiday,
    COALESCE(h.temperature, 20.0) AS temperature_celsius,
    COALESCE(h.humidity, 50.0) AS humidity_percent,
    COALESCE(h.wind, 5.0) AS wind_speed_kmh,
    COALESCE(h.condition_number, 0) AS weather_condition_encoded,
    COALESCE(d.ago_1h, 0) AS demand_1h_ago,
    COALESCE(d.ago_24h, 0) AS demand_24h_ago,
    COALESCE(d.ago_168h, 0) AS demand_168h_ago,
    COALESCE(d.mean_7d, 0.0) AS rolling_avg_7d,
    COALESCE(d.mean_30d, 0.0) AS rolling_avg_30d,
    COALESCE(d.deviation_7d, 1.0) AS rolling_std_7d,
    CASE z.zone_type WHEN 'airport' THEN 3 WHEN 'neighborhood' THEN 1 ELSE 2 END AS zone_type_encoded,
    CAST(z.is_tourist_area AS INT) AS is_tourist_area_flag,
    CAST(z.is_business_district AS INT) AS is_business_district_flag,
    COALESCE(d.popularity, 5) AS zone_popularity_score,
    COALESCE(h.temperature, 20.0) * h.hour_of_day AS temp_hour_interaction,
    COALESCE(h.condition_number, 0) * CAST(h.is_weekend AS INT) AS weather_weekend_interaction,
    CAST(z.is_tourist_area AND h.is_weekend AS INT) AS tourist_weekend_interaction,
    COALESCE(d.ago_2h, 0) AS demand_lag_2h,
    COALESCE(d.ago_3h, 0) AS demand_lag_3h,
    COALESCE(d.ago_168h, 0) AS demand_same_hour_last_week,
    CASE WHEN f.age = 1 THEN CAST(ROUND(f.predicted_demand) AS BIGINT) ELSE d.ago_168h END AS predicted_demand,
    h.weather_impact AS weather_impact_factor,
    CASE WHEN f.age = 1 THEN f.confidence_score ELSE d.confidence END AS confidence_score,
    h.date AS feature_date,
    run.now AS created_at
FROM demand d
JOIN hours h ON h.hour = d.hour
JOIN zones z ON z.location_id = d.zone
LEFT JOIN (SELECT * FROM newest WHERE age = 1) f ON f.location_id = d.zone AND f.prediction_hour = h.at
CROSS JOIN run
