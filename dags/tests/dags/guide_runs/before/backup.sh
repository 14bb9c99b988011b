# A standalone that has stopped, with a schema of pipelines.
export ORCH_DATA_DIR=$PWD/data
"$BINARY" standalone --port 0 &> standalone.log < /dev/null &
up() { grep -q ' is up' standalone.log; }
until_ok up
orch db shell -- -c 'create schema marts' -c 'create table marts.sums (day date)'
kill %1 && wait %1

# A second database on the server of the test, which listens at a socket only.
createdb() {
    command createdb --maintenance-db "$DATABASE_URL" "${DATABASE}_restored"
}
RESTORED=${DATABASE_URL/"/$DATABASE?"/"/${DATABASE}_restored?"}

after() {
    dropdb --maintenance-db "$DATABASE_URL" "${DATABASE}_restored"
}
