#!/usr/bin/env bash
# install.sh PEER: puts one peer into $ORCH_PEERS/envs/PEER from the package indexes, unless it is there already.
# The versions are those that the tables name; <PEER>_VERSION in the environment takes another.
set -euo pipefail
peer=$1
folder=$ORCH_PEERS/envs/$peer
if [[ -e $folder/.complete ]]; then exit 0; fi
rm -rf "$folder"
mkdir -p "$folder"
echo "installing $peer into $folder" >&2

python_packages() {
    "${PYTHON:-python3}" -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
}
node_packages() {
    (cd "$folder" && npm init -y > /dev/null && npm install --silent --no-fund --no-audit "$@" >&2)
}
# Where an index lags behind the newest certifi that Prefect asks for, any certifi will do.
prefect_with_any_certifi() {
    "$folder/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$folder/wheel" "$1" >&2
    "$folder/bin/python" - "$folder" << 'EOF'
import glob, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(f"{sys.argv[1]}/wheel/*.whl")[0])
metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))).decode()
needs = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
needs = ["certifi" if need.startswith("certifi") else need for need in needs if "extra ==" not in need]
open(f"{sys.argv[1]}/needs.txt", "w").write("\n".join(needs))
EOF
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$folder/needs.txt" "${@:2}" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps "$folder"/wheel/*.whl >&2
}

case $peer in
airflow)
    # Airflow tests one set of dependencies per version: give the file when it can be had.
    constraints=()
    if [[ -n ${AIRFLOW_CONSTRAINTS:-} ]]; then constraints=(-c "$AIRFLOW_CONSTRAINTS"); fi
    python_packages "apache-airflow[postgres,async]==${AIRFLOW_VERSION:-3.3.2}" psycopg2-binary "${constraints[@]}"
    ;;
prefect)
    prefect="prefect==${PREFECT_VERSION:-3.9.1}"
    if ! python_packages "$prefect" asyncpg psycopg2-binary; then prefect_with_any_certifi "$prefect" asyncpg psycopg2-binary; fi
    ;;
# SQLAlchemy 2.1 takes `postgresql://` for psycopg 3, which dagster-postgres does not install.
dagster) python_packages "dagster==${DAGSTER_VERSION:-1.13.27}" "dagster-webserver==${DAGSTER_VERSION:-1.13.27}" dagster-postgres "sqlalchemy<2.1" ;;
dbos) python_packages "dbos==${DBOS_VERSION:-3.4.0}" psycopg2-binary ;;
restate) node_packages "@restatedev/restate-server${RESTATE_VERSION:+@$RESTATE_VERSION}" "@restatedev/restate-sdk${RESTATE_VERSION:+@$RESTATE_VERSION}" ;;
# 0.18 needs Node 22.18.
graphile) node_packages "graphile-worker@${GRAPHILE_VERSION:-0.17.3}" ;;
# The work of the data plane: whoever reads MySQL, writes Iceberg, or makes sums of CSV files.
lake)
    python_packages connectorx polars pandas pymysql "sqlalchemy<2.1" pyarrow "dlt[filesystem]" psycopg2-binary \
        "pyiceberg[sql-postgres,pyarrow]" duckdb geopandas confluent-kafka pysail "pyspark[connect]==4.0.1"
    ;;
*)
    echo "no peer \`$peer\`; there are airflow, prefect, dagster, dbos, restate, graphile, lake" >&2
    exit 2
    ;;
esac
touch "$folder/.complete"
