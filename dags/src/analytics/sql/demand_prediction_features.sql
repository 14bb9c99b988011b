-- The known demand before every hour in every zone
SELECT
    z.location_id,
    h.at AS prediction_datetime,
    h.hour_of_day AS hour,
    h.day_of_week,
    h.is_weekend,
    FALSE AS is_holiday,
    h.temperature AS temperature_celsius,
    COALESCE(h.condition, 'unknown') AS weather_condition,
    d.ago_1h AS historical_demand_1h_ago,
    d.ago_24h AS historical_demand_24h_ago,
    d.ago_168h AS historical_demand_168h_ago,
    d.mean_7d AS rolling_avg_demand_7d,
    d.mean_30d AS rolling_avg_demand_30d,
    z.zone_type,
    z.is_tourist_area,
    z.is_business_district,
    d.nearby AS nearby_zones_demand,
    h.weather_impact AS weather_impact_factor,
    1.0 AS event_factor,
    run.now AS load_date,
    h.year,
    h.month
FROM demand d
JOIN hours h ON h.hour = d.hour
JOIN zones z ON z.location_id = d.zone
CROSS JOIN run
