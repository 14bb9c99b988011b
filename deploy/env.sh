#!/usr/bin/env bash
# Prints passwords for compose.yml: `deploy/env.sh > .env`. Letters and figures only, so that they fit into URIs as they are.
set -euo pipefail
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
for name in ORCH_ADMIN_PASSWORD POSTGRES_PASSWORD MYSQL_PASSWORD MYSQL_ROOT_PASSWORD MINIO_PASSWORD; do
    printf '%s=%s\n' "$name" "$(secret)"
done
# 32 bytes, as `orch secrets generate-key` prints them.
printf 'ORCH_SECRET_KEY=%s\n' "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
