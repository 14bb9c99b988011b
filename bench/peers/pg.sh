#!/usr/bin/env bash
# pg.sh start NAME PORT | stop NAME: a private, durable Postgres for one peer, tuned like every other and as orch's own.
# As root it runs as the user `postgres`; its folder is outside of root's home for that reason. `stop` removes it.
set -euo pipefail
root=${ORCH_PEERS_PG:-/var/tmp/orch-peers-$(id -u)}
data=$root/$2
programs=$(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin | sort -V | while read -r folder; do
    if [[ -x $folder/initdb ]]; then echo "$folder"; fi
done | tail -1)
: "${programs:=$(dirname "$(command -v initdb)")}"

as_server() {
    if [[ $(id -u) == 0 ]]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

stop() {
    if [[ -d $data ]]; then
        as_server "$programs/pg_ctl" -D "$data" -m immediate stop > /dev/null 2>&1 || true
        rm -rf "$data"
    fi
}

case $1 in
start)
    stop
    mkdir -p "$root"
    if [[ $(id -u) == 0 ]]; then chown postgres "$root"; fi
    as_server "$programs/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C > /dev/null
    as_server tee -a "$data/postgresql.conf" > /dev/null << EOF
listen_addresses = '127.0.0.1'
port = $3
unix_socket_directories = ''
max_connections = 300
shared_buffers = 128MB
jit = off
min_wal_size = 256MB
max_wal_size = 1GB
log_min_messages = warning
EOF
    as_server "$programs/pg_ctl" -D "$data" -w -l "$data/server.log" start > /dev/null
    "$programs/psql" -qAt -h 127.0.0.1 -p "$3" -U postgres -c "create database bench"
    ;;
stop) stop ;;
*)
    echo "pg.sh start NAME PORT | stop NAME" >&2
    exit 2
    ;;
esac
