-- The error of the forecasts of each day and borough. A day has drifted if the error was more than 1.5 times the error on the weeks
-- held out when the model was fitted. By chance, less than one day in a hundred drifts.
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
