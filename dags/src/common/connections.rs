//! Which connections the pipelines ask for, and what stands in their place where nobody has set one up: folders of the
//! data folder, the database that is there anyway, and a shop that never was. One click then needs no server.

use orch::{Connection, Installation};
use orch_lake::load::CREATE_DATABASE;
use serde_json::{Map, Value};
use std::path::Path;

/// The catalog of the lake's tables (Postgres), and where new tables go.
pub const LAKE: &str = "lake";
/// Where buckets are: a folder, or an S3 protocol server.
pub const BUCKETS: &str = "buckets";
/// The source: MySQL, or the sample.
pub const RETAIL_MYSQL: &str = "retail_mysql";
/// Into which gold is loaded.
pub const RETAIL_POSTGRES: &str = "retail_postgres";

/// Whose changes are captured: trips of taxis.
pub const TAXI_DB: &str = "taxi_db";

/// The files of the city, or the sample.
pub const NYC_TAXI: &str = "nyc_taxi";
/// Who is asked for the weather: an API, or the sample.
pub const WEATHER_API: &str = "weather_api";

/// Where topics are: the built-in log, or a Kafka cluster.
pub const TOPICS: &str = orch_streams::TOPICS;

/// Where `logging_client` sends readings: a logging server (`http`), or the topic itself.
pub const LOGGING_SERVER: &str = "logging_server";

/// The Spark that carries out what is large; without one the worker does.
pub const SPARK: &str = orch::SPARK_DEFAULT;

/// Those whose default needs no server, wherever orch runs.
pub const SAMPLES: [&str; 5] = [LOGGING_SERVER, NYC_TAXI, SPARK, TOPICS, WEATHER_API];
/// The others, by name.
pub const IDS: [&str; 5] = [BUCKETS, LAKE, RETAIL_MYSQL, RETAIL_POSTGRES, TAXI_DB];

/// The database that is loaded into by default; beside the metadata, not in it.
pub const WAREHOUSE: &str = "warehouse";

/// The defaults, for `Binary::connections`.
pub fn defaults(here: &Installation) -> Vec<Connection> {
    let folder = |name: &str| here.data_dir.join(name);
    let buckets = Connection {
        extra: Map::from_iter([("path".into(), folder("buckets").display().to_string().into())]),
        ..of_type(BUCKETS, "file", "Buckets: folders of the data folder")
    };
    let sample = Connection {
        host: Some("retail".into()),
        ..of_type(RETAIL_MYSQL, "sample", "A shop that never was, in the place of MySQL")
    };
    let trips = Connection {
        host: Some("taxi".into()),
        ..of_type(NYC_TAXI, "sample", "Trips that never were, in the place of the city's files")
    };
    let weather = Connection {
        host: Some("weather".into()),
        ..of_type(WEATHER_API, "sample", "Weather that never was, in the place of an API")
    };
    let topics = of_type(TOPICS, orch_streams::topic::LOG, "Topics: the built-in log, in the database of orch");
    let logging =
        of_type(LOGGING_SERVER, orch_streams::topic::LOG, "No logging server: its client writes into the topic");
    let spark = of_type(SPARK, crate::common::engine::LOCAL, "No Spark: the worker computes itself");
    // A URL that is none has been told by whoever connected before any task runs.
    let Ok(database) = Connection::from_uri(LAKE, &here.database_url) else {
        return vec![buckets, logging, sample, spark, topics, trips, weather];
    };
    let mut lake = Connection {
        description: Some("The lake: its catalog in the database of orch, new tables in the data folder".into()),
        ..database.clone()
    };
    lake.extra.insert("warehouse".into(), file_url(&folder("lake")).into());
    let mut target = Connection {
        id: RETAIL_POSTGRES.into(),
        description: Some("For people and their tools to read: a database beside that of orch".into()),
        schema: Some(WAREHOUSE.into()),
        ..database.clone()
    };
    target.extra.insert(CREATE_DATABASE.into(), Value::Bool(true));
    let mut changing = Connection {
        id: TAXI_DB.into(),
        description: Some("Trips that change all the time: a database beside that of orch".into()),
        schema: Some(TAXI_DB.into()),
        ..database
    };
    changing.extra.insert(CREATE_DATABASE.into(), Value::Bool(true));
    // On the private server of a standalone only this role may follow changes.
    if changing.extra_field("user").and_then(Value::as_str) == Some("orch_tasks") {
        changing.extra.insert("user".into(), "orch_capture".into());
    }
    vec![buckets, changing, lake, logging, sample, spark, target, topics, trips, weather]
}

fn of_type(id: &str, conn_type: &str, description: &str) -> Connection {
    Connection {
        id: id.into(),
        conn_type: conn_type.into(),
        description: Some(description.into()),
        ..Connection::default()
    }
}

fn file_url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_a_default() {
        let here = Installation {
            data_dir: "/data/orch".into(),
            database_url: "postgres:///orch?host=%2Fdata%2Forch%2Fsocket&port=5432&user=orch".into(),
        };
        let all = defaults(&here);
        let mut ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        ids.sort_unstable();
        let mut expected = [&IDS[..], &SAMPLES[..]].concat();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        let extra = |id: &str, name: &str| {
            let one = all.iter().find(|one| one.id == id).expect("it is there");
            one.extra_field(name).and_then(Value::as_str).map(String::from)
        };
        assert_eq!(extra(LAKE, "warehouse").as_deref(), Some("file:///data/orch/lake"));
        assert_eq!(extra(RETAIL_POSTGRES, "host").as_deref(), Some("/data/orch/socket"));
        assert_eq!(all.iter().filter(|one| one.schema.as_deref() == Some(WAREHOUSE)).count(), 1);
        assert_eq!(extra(TAXI_DB, "user").as_deref(), Some("orch"));
        let here = Installation { database_url: here.database_url.replace("=orch", "=orch_tasks"), ..here };
        let user = |id: &str| {
            let one = defaults(&here).into_iter().find(|one| one.id == id).expect("it is there");
            one.extra_field("user").and_then(Value::as_str).map(String::from)
        };
        assert_eq!((user(TAXI_DB).as_deref(), user(LAKE).as_deref()), (Some("orch_capture"), Some("orch_tasks")));
    }
}
