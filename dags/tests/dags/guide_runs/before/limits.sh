# Airflow is not installed: writes what its `export` writes.
airflow() {
    echo '{"of_airflow": {"slots": 3, "description": "", "include_deferred": false}}' > "$3"
}

until_ok "$BINARY" runs wait etl scheduled__2026-11-20T00:00:00+00:00
