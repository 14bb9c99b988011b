//! The connections of the pipelines, and their defaults: folders of the data folder, databases on the server of orch,
//! and generated sample data. The defaults need no other server.

use crate::common::engine::LOCAL;
use orch::{Connection, Installation, TaskResult, fatal};
use orch_lake::load::CREATE_DATABASE;
use orch_streams::topic::LOG;
use serde_json::Value;
use std::ops::RangeInclusive;

/// The Postgres catalog of the lake, and the location of new tables.
pub const LAKE: &str = "lake";
/// The buckets: folders, or an object store with the S3 protocol.
pub const BUCKETS: &str = "buckets";
/// The retail source: MySQL, or sample data.
pub const RETAIL_MYSQL: &str = "retail_mysql";
/// The database that gold tables are loaded into.
pub const RETAIL_POSTGRES: &str = "retail_postgres";

/// The database of taxi trips whose changes are captured.
pub const TAXI_DB: &str = "taxi_db";

/// The trip files of New York City, or sample data.
pub const NYC_TAXI: &str = "nyc_taxi";
/// The weather API, or sample data.
pub const WEATHER_API: &str = "weather_api";

/// The topics: the built-in log, or a Kafka cluster.
pub const TOPICS: &str = orch_streams::TOPICS;

/// The destination of `logging_client`: a logging server (`http`), or the topic itself.
pub const LOGGING_SERVER: &str = "logging_server";

/// The Spark that runs large jobs. By default they run in the worker.
pub const SPARK: &str = orch::SPARK_DEFAULT;

/// Connections whose default needs no server.
pub const SAMPLES: [&str; 5] = [LOGGING_SERVER, NYC_TAXI, SPARK, TOPICS, WEATHER_API];
pub const IDS: [&str; 5] = [BUCKETS, LAKE, RETAIL_MYSQL, RETAIL_POSTGRES, TAXI_DB];

/// The default database of `retail_postgres`, on the server of orch.
pub const WAREHOUSE: &str = "warehouse";

/// Returns the default connections, for `Binary::connections`.
pub fn defaults(here: &Installation) -> Vec<Connection> {
    let folder = |name: &str| here.data_dir.join(name).display().to_string();
    let mut buckets = connection(BUCKETS, "file", "Buckets: folders of the data folder");
    buckets.extra.insert("path".into(), folder("buckets").into());
    let mut connections = vec![
        buckets,
        connection(LOGGING_SERVER, LOG, "No logging server: its client writes into the topic"),
        sample(NYC_TAXI, "taxi", "Generated trips instead of the files of the city"),
        sample(RETAIL_MYSQL, "retail", "A generated shop instead of MySQL"),
        connection(SPARK, LOCAL, "No Spark: the worker runs the jobs"),
        connection(TOPICS, LOG, "Topics: the built-in log, in the database of orch"),
        sample(WEATHER_API, "weather", "Generated weather instead of an API"),
    ];
    // orch rejects an invalid database URL before any task runs, so the error need not be reported here.
    let Ok(database) = Connection::from_uri(LAKE, &here.database_url) else { return connections };
    let mut lake = Connection {
        description: Some("The lake: its catalog in the database of orch, new tables in the data folder".into()),
        ..database.clone()
    };
    lake.extra.insert("warehouse".into(), format!("file://{}", folder("lake")).into());
    let on_the_same_server = |id: &str, name: &str, description: &str| {
        let (id, schema, description) = (id.into(), Some(name.into()), Some(description.into()));
        let mut connection = Connection { id, schema, description, ..database.clone() };
        connection.extra.insert(CREATE_DATABASE.into(), Value::Bool(true));
        connection
    };
    let about = "Tables for users and their tools: a database on the server of orch";
    let loaded = on_the_same_server(RETAIL_POSTGRES, WAREHOUSE, about);
    let about = "Trips that change all the time: a database on the server of orch";
    let mut captured = on_the_same_server(TAXI_DB, TAXI_DB, about);
    if let Some(role) = &here.capture_role {
        // A URL has its login before the host, or in the query if it leads to a socket.
        match &mut captured.login {
            Some(login) => login.clone_from(role),
            None => _ = captured.extra.insert("user".into(), role.as_str().into()),
        }
    }
    connections.extend([lake, loaded, captured]);
    connections
}

/// Returns an integer from the connection's extra, or `default` if the extra does not have this field.
///
/// # Errors
/// Returns a fatal error that names the connection and the field if the value is not an integer in the range.
pub(crate) fn number(connection: &Connection, name: &str, default: u64, range: RangeInclusive<u64>) -> TaskResult<u64> {
    let Some(value) = connection.extra_field(name) else { return Ok(default) };
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (id, first, last) = (&connection.id, range.start(), range.end());
        let bounds = if *last == u64::MAX { String::new() } else { format!(" from {first} to {last}") };
        fatal(format!("connection `{id}`: `{name}` must be a whole number{bounds}\nhint: write `?{name}={default}`"))
    })
}

fn connection(id: &str, conn_type: &str, description: &str) -> Connection {
    let description = Some(description.into());
    Connection { id: id.into(), conn_type: conn_type.into(), description, ..Connection::default() }
}

fn sample(id: &str, name: &str, description: &str) -> Connection {
    Connection { host: Some(name.into()), ..connection(id, "sample", description) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_connection_has_a_default() {
        let of_role = |capture_role: Option<&str>, database_url: &str| {
            let (database_url, capture_role) = (database_url.into(), capture_role.map(String::from));
            defaults(&Installation { data_dir: "/data/orch".into(), database_url, capture_role })
        };
        let socket = "postgres:///orch?host=%2Fdata%2Forch%2Fsocket&port=5432&user=orch_tasks";
        let all = of_role(None, socket);
        let ids: BTreeSet<&str> = all.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, IDS.into_iter().chain(SAMPLES).collect());
        let captured = of_role(Some("orch_capture"), "postgres://orch_tasks:p@127.0.0.1:5611/orch");
        let captured = captured.iter().find(|one| one.id == TAXI_DB).unwrap();
        assert_eq!((captured.login.as_deref(), captured.password.as_deref()), (Some("orch_capture"), Some("p")));
        for (capture_role, id, field, expected) in [
            (None, LAKE, "warehouse", "file:///data/orch/lake"),
            (None, RETAIL_POSTGRES, "host", "/data/orch/socket"),
            (None, TAXI_DB, "user", "orch_tasks"),
            (Some("orch_capture"), TAXI_DB, "user", "orch_capture"),
            (Some("orch_capture"), LAKE, "user", "orch_tasks"),
        ] {
            let found = of_role(capture_role, socket).into_iter().find(|one| one.id == id).unwrap();
            assert_eq!(found.extra_field(field).and_then(Value::as_str), Some(expected), "{id}: {field}");
        }
    }
}
