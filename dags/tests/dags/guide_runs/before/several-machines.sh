mkdir srv-dags
export ORCH_DATABASE_URL=$DATABASE_URL
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout orch.key -out orch.pem
