#!/usr/bin/env bash
# Creates the passwords of compose.yml, once: `passwords.sh FOLDER` writes one file for each into the folder of the server that reads it (each
# is a volume), and `orch/orch.env` with all of them for orch. Existing passwords are kept. A password in the environment, such as one of
# `.env`, is used instead of a random one.
set -euo pipefail
folder=$1

# Writes a file whole or not at all, also if the script is stopped. Servers read their passwords as different users of their containers; only
# root reads the files of orch, because tasks run as the user `orch`.
write() {
    mkdir -p "$folder/${1%/*}"
    cat > "$folder/$1.new"
    chmod "$(mode "$1")" "$folder/$1.new"
    mv -f "$folder/$1.new" "$folder/$1"
}
mode() { [[ $1 == orch/* ]] && echo 400 || echo 444; }

files=(orch/ORCH_ADMIN_PASSWORD orch/ORCH_SECRET_KEY postgres/POSTGRES_PASSWORD postgres/TASKS_PASSWORD mysql/MYSQL_PASSWORD
    mysql/MYSQL_ROOT_PASSWORD minio/MINIO_PASSWORD)
for file in "${files[@]}"; do
    name=${file#*/}
    [[ ! -e $folder/$file ]] || continue
    value=${!name:-}
    if [[ -z $value && $name == ORCH_SECRET_KEY ]]; then
        # 32 bytes, as `orch secrets generate-key` prints them.
        value=$(head -c 32 /dev/urandom | base64 | tr -d '\n')
    elif [[ -z $value ]]; then
        value=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
    elif [[ $name != ORCH_SECRET_KEY && ! $value =~ ^[A-Za-z0-9_-]+$ ]]; then
        printf '%s has other characters than letters, figures, - and _, and is to stand in addresses\n' "$name" >&2
        printf 'hint: choose another one, or leave it out and one is made\n' >&2
        exit 1
    fi
    printf '%s' "$value" | write "$file"
done

password() { cat "$folder/$1"; }
tasks=$(password postgres/TASKS_PASSWORD)
write orch/orch.env << END
ORCH_DATABASE_URL='postgres://orch:$(password postgres/POSTGRES_PASSWORD)@postgres:5432/orch'
ORCH_ADMIN_PASSWORD='$(password orch/ORCH_ADMIN_PASSWORD)'
ORCH_SECRET_KEY='$(password orch/ORCH_SECRET_KEY)'
ORCH_TASK_ROLE='orch_tasks'
ORCH_TASK_PASSWORD='$tasks'
ORCH_CONN_RETAIL_MYSQL='mysql://cdc:$(password mysql/MYSQL_PASSWORD)@mysql:3306/retaildb'
ORCH_CONN_RETAIL_POSTGRES='postgres://orch_tasks:$tasks@postgres:5432/warehouse'
ORCH_CONN_TAXI_DB='postgres://orch_capture:$tasks@postgres:5432/taxi_db'
ORCH_CONN_LAKE='postgres://orch_tasks:$tasks@postgres:5432/orch?warehouse=s3%3A%2F%2Flakehouse'
ORCH_CONN_BUCKETS='s3://orch:$(password minio/MINIO_PASSWORD)@minio:9000'
END
# Older versions wrote the same into files that tasks could read.
rm -f "$folder"/orch/orch.toml "$folder"/orch/connections.env
chmod 400 "$folder"/orch/*
