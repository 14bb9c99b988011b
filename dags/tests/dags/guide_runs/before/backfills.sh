key=$(token)
curl -sS -X PUT "$URL/api/orch/v1/dags/my_dag/presets/full" -H "Authorization: Bearer $key" \
    -H 'content-type: application/json' -d '{"conf": {}}'
# A run whose task `load` is running, and an active backfill: it waits for the paused DAG.
orch dags trigger my_dag --run-id my_run --conf '{"seconds": 20}'
orch dags pause by_hand --yes
active=$(orch backfill create --dag-id by_hand --from-date 2026-10-01 --to-date 2026-10-02 --step daily -o json |
    grep -o '"id": *[0-9]*' | tr -dc 0-9)

newest() {
    orch backfill list --dag-id my_dag -o json | grep -o '"id": *[0-9]*' | head -n 1 | tr -dc 0-9
}
