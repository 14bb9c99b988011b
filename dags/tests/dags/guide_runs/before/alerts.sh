# An alert that could not be sent.
exits 1 orch dags trigger sales --wait
orch connections add closed_port --conn-type slackwebhook --conn-host http://127.0.0.1:1
orch dags trigger sales --wait
alert=$(orch alerts list --dag-id sales -o json | grep -o '"id": *[0-9]*' | head -n 1 | tr -dc 0-9)
