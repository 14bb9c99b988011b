#!/bin/sh
# `as-orch COMMAND…` runs a command as the user `orch`, with the settings of compose.yml in its environment. Only root can read their file, so
# tasks, which run as `orch`, cannot. orch moves secrets out of its environment when it starts.
set -eu
if [ -e "${SECRETS_FILE:=/run/passwords/orch/orch.env}" ]; then
    set -a
    . "$SECRETS_FILE"
    set +a
fi
unset SECRETS_FILE
export HOME=/var/lib/orch
exec setpriv --reuid orch --regid orch --init-groups --no-new-privs -- "$@"
