-- Trips that began in each zone in each hour
SELECT hour, zone, SUM(trips) AS trips FROM rows GROUP BY hour, zone
