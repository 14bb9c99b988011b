//! Operators and conditions for buckets, MySQL and Postgres. They are used like built-in ones: `d.add(mysql(…))`,
//! `d.add(bucket_to_postgres(…))`, `wait_for("orders", bucket_object(…))`.

mod between_buckets;
mod from_mysql;
mod mysql;
mod object;
mod rows;
mod to_postgres;

pub use between_buckets::{BucketToBucket, Copied, bucket_to_bucket};
pub use from_mysql::{MysqlToBucket, mysql_to_bucket};
pub use mysql::{Mysql, MysqlQueries, MysqlServer, MysqlWait, mysql, mysql_query};
pub use object::{BucketObjects, ObjectWait, bucket_object};
pub use rows::{Format, ObjectLocation};
pub use to_postgres::{BucketToPostgres, bucket_to_postgres, load_to_postgres};

use orch::{Operator, body_from};
use orch_sdk::task::TaskFn;
use serde_json::Value;

/// Returns the function of a task of a kind of this crate. `None` for other kinds.
pub fn body_of(kind: &str, config: &Value) -> Option<Result<TaskFn, String>> {
    let body = match kind {
        Mysql::KIND => body_from::<Mysql>(config),
        MysqlToBucket::KIND => body_from::<MysqlToBucket>(config),
        BucketToBucket::KIND => body_from::<BucketToBucket>(config),
        BucketToPostgres::KIND => body_from::<BucketToPostgres>(config),
        _ => return None,
    };
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The configs are those of a DAG file.
    #[test]
    fn every_kind_is_made_from_its_config() {
        let object = json!({ "bucket": "raw", "key": "orders.csv" });
        for (kind, config) in [
            ("mysql", json!({ "connection": "db", "statement": "select 1" })),
            ("mysql_to_bucket", json!({ "connection": "db", "table": "orders", "to": object })),
            ("bucket_to_bucket", json!({ "from": object, "to": object })),
            ("bucket_to_postgres", json!({ "from": object, "connection": "db", "table": "orders" })),
        ] {
            assert!(body_of(kind, &config).is_some_and(|body| body.is_ok()), "{kind}");
            let wrong = body_of(kind, &json!({ "no_such_field": 1 })).expect("the kind is known");
            assert!(wrong.is_err_and(|error| error.contains(kind)), "{kind}");
        }
        assert!(body_of("shell", &json!({})).is_none());
    }
}
