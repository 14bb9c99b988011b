#!/usr/bin/env bash
# Creates what is beside the metadata of orch: the roles of tasks, which cannot read the metadata, databases that pipelines load for others to
# read, and the settings of Metabase. Only `orch_capture`, the owner of taxi_db, can follow changes.
set -euo pipefail
password=$(cat /run/passwords/postgres/TASKS_PASSWORD)
psql -q -v ON_ERROR_STOP=1 -v password="$password" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" << 'END'
create role orch_tasks login createdb password :'password';
create role orch_capture login createdb replication password :'password';
-- A role with REPLICATION can read all changes of a database to which it may connect.
revoke connect on database :"DBNAME" from public;
grant connect on database :"DBNAME" to orch_tasks;
create database warehouse owner orch_tasks;
create database taxi_db owner orch_capture;
create database metabase;
END
