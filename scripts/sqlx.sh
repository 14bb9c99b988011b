#!/usr/bin/env bash
# Checks every query against the migrations on a private Postgres and writes what it learns to .sqlx/, from which all
# other builds check offline. Run it after changing a query or a migration; a test notices when it was forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
coproc SERVER { cargo run -q -p orch-cluster -- "$dir/data"; }
trap 'exec {SERVER[1]}>&-; wait "$SERVER_PID" 2>/dev/null; rm -rf "$dir"' EXIT
read -r url <&"${SERVER[0]}"

for file in migrations/*.up.sql; do
    psql "$url" --quiet --single-transaction --set ON_ERROR_STOP=1 --file "$file"
done
mkdir "$dir/sqlx"
touch store/src/lib.rs # the macros look only when the crate is compiled
SQLX_OFFLINE=false DATABASE_URL=$url SQLX_OFFLINE_DIR=$dir/sqlx cargo build -q -p orch-store
rm -rf .sqlx
mv "$dir/sqlx" .sqlx
echo "$(find .sqlx -name '*.json' | wc -l) queries are described in .sqlx/"
