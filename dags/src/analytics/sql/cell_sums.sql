-- Trips of each zone and hour
SELECT
    hour,
    zone,
    SUM(trips) AS trips,
    SUM(dropoffs) AS dropoffs,
    SUM(distance) AS distance,
    SUM(fare) AS fare,
    SUM(tips) AS tips,
    SUM(tipped) AS tipped,
    SUM(tip_percents) AS tip_percents,
    SUM(micros) AS micros,
    SUM(timed) AS timed
FROM rows
GROUP BY hour, zone
