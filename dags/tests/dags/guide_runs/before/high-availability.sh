mkdir srv-dags
export ORCH_DATABASE_URL=$DATABASE_URL
