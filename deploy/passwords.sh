#!/usr/bin/env bash
# Makes the passwords of compose.yml, once: `passwords.sh FOLDER` writes a file for each into the folder of the server that reads it, which
# is a volume of its own, and two by which orch is told all of them. What is there stays. One that the environment names, as that of `.env`, is taken in place of a random one.
set -euo pipefail
folder=$1

# A file is there whole or not at all, also when this is stopped in the middle. Several users of containers read it.
write() {
    mkdir -p "$folder/${1%/*}"
    cat > "$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv -f "$folder/$1.new" "$folder/$1"
}

files=(orch/ORCH_ADMIN_PASSWORD orch/ORCH_SECRET_KEY postgres/POSTGRES_PASSWORD mysql/MYSQL_PASSWORD mysql/MYSQL_ROOT_PASSWORD
    minio/MINIO_PASSWORD)
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
write orch/orch.toml << END
database_url = "postgres://orch:$(password postgres/POSTGRES_PASSWORD)@postgres:5432/orch"
admin_password = "$(password orch/ORCH_ADMIN_PASSWORD)"
secret_key = "$(password orch/ORCH_SECRET_KEY)"
END
write orch/connections.env << END
retail_mysql=mysql://cdc:$(password mysql/MYSQL_PASSWORD)@mysql:3306/retaildb
retail_postgres=postgres://orch:$(password postgres/POSTGRES_PASSWORD)@postgres:5432/warehouse
taxi_db=postgres://orch:$(password postgres/POSTGRES_PASSWORD)@postgres:5432/taxi_db
lake=postgres://orch:$(password postgres/POSTGRES_PASSWORD)@postgres:5432/orch?warehouse=s3%3A%2F%2Flakehouse
buckets=s3://orch:$(password minio/MINIO_PASSWORD)@minio:9000
END
