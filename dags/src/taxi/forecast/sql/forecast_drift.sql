-- How far off the forecasts of each day and borough were. A day has drifted if the error was 1.5 times that of the weeks held out
-- when the model was fitted. By chance, that is less than one day in a hundred.
WITH days AS (
    SELECT
        day,
        borough,
        COUNT(*) AS hours,
        AVG(ABS(actual - expected)) AS mae,
        AVG(CAST(ABS(actual - week_ago) AS DOUBLE)) AS naive_mae,
        MAX(CASE WHEN place = 1 THEN expected_error END) AS expected_error,
        MAX(CASE WHEN place = 1 THEN model_version END) AS model_version
    FROM judged
    GROUP BY day, borough
),
ratios AS (
    SELECT *, CASE WHEN expected_error > 0 THEN mae / expected_error END AS ratio FROM days
)
SELECT
    day,
    borough,
    hours,
    mae,
    naive_mae,
    expected_error,
    ratio,
    COALESCE(hours >= 12 AND ratio > 1.5, FALSE) AS is_drifted,
    model_version,
    run.now AS created_at
FROM ratios
CROSS JOIN run
