# Tables that streams create.
tables=(staging.orders staging.items shop.orders shop.order_items)
for table in "${tables[@]}"; do
    orch topics create "$table"
    echo '{"order_id": 1, "line_no": 1}' | orch topics produce "$table"
    case $table in *.orders) key=order_id ;; *) key='[order_id, line_no]' ;; esac
    cat > "$DAGS/$table.stream.yaml" <<END
name: ${table/./_}
topic: $table
fields: {order_id: integer, line_no: integer}
key: $key
table: $table
END
done
for table in "${tables[@]}"; do until_ok "$BINARY" lake show "$table"; done
orch dags trigger nyc_weather_etl --wait
newest='select snapshot_id from weather."hourly_weather$snapshots" order by committed_at desc limit 1'
snapshot=$(orch sql "$newest" -o csv | tail -n 1 | tr -dc 0-9)
