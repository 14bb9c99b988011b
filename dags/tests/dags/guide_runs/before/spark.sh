export ORCH_DATABASE_URL=$DATABASE_URL
export ORCH_SECRET_KEY
ORCH_SECRET_KEY=$(orch secrets generate-key)
