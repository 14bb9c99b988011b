-- Hours with more or fewer trips than the band of 99 % allows
SELECT
    prediction_hour AS anomaly_hour,
    borough,
    CASE WHEN actual > upper_99 THEN 'more' ELSE 'fewer' END AS kind,
    actual,
    expected,
    lower_99 AS lower,
    upper_99 AS upper,
    model_version,
    run.now AS created_at
FROM judged
CROSS JOIN run
WHERE actual NOT BETWEEN lower_99 AND upper_99
