# Read by MySQL's own start-up script, which has `docker_process_sql`: fills the tables from the packed files of the tests.
for table in departments categories products customers orders order_items; do
    gunzip -c "/retail/$table.csv.gz" > "/var/lib/mysql-files/$table.csv"
    docker_process_sql --database="$MYSQL_DATABASE" <<< "load data infile '/var/lib/mysql-files/$table.csv' into table $table
        character set utf8mb4 fields terminated by ',' optionally enclosed by '\"' escaped by '' lines terminated by '\n';"
    rm "/var/lib/mysql-files/$table.csv"
done
