ORCH=$URL
TOKEN=$(token)
echo postgres://me:secret@db/shop > uri.txt

# Airflow is not installed: writes what its `export` writes.
airflow() {
    case $1 in
        connections) echo '{"of_airflow": {"conn_type": "postgres", "host": "db"}}' > "$3" ;;
        variables) echo '{"of_airflow": "1"}' > "$3" ;;
    esac
}
