mkdir dags
printf 'dag_id: hello\ntasks:\n  greet: {bash: echo hello}\n' > dags/hello.yaml
