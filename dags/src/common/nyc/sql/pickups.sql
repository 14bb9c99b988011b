-- The zone and hour in which each trip began
SELECT CAST(pickup_datetime AS BIGINT) // 3600000000 AS hour, pickup_location_id AS zone, 1 AS trips FROM rows
