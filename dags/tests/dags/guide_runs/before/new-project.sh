# The DAG of a new project, in two versions.
cat > "$DAGS/daily_sales.yaml" <<'END'
dag_id: daily_sales
tasks:
  fetch: {bash: echo 3}
  report: {bash: echo "3 orders", after: fetch}
END
until_ok "$BINARY" dags details daily_sales
sed -i '$ a\  send: {bash: echo sent, after: report}' "$DAGS/daily_sales.yaml"
newest_is_2() { "$BINARY" dags versions daily_sales -o json | grep -q '"version": 2'; }
until_ok newest_is_2
orch dags trigger daily_sales --run-id MY_RUN --wait
exits 1 orch dags diff daily_sales
exits 1 orch dags diff daily_sales 1 2
