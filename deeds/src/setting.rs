//! Settings of the server, as admins read them.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use serde_json::json;
use sqlx::PgConnection;

/// Records that one setting was read, or all settings if `option` is `None`.
#[boxed]
pub async fn note_read(tx: &mut PgConnection, actor: &Actor, option: Option<&str>) -> StoreResult<()> {
    let extra = option.map(|option| json!({ "option": option }));
    actor.did(tx, Deed { event: "read_settings", extra, ..Deed::default() }).await
}

/// Name of the section with orch's own settings.
pub const OWN_SECTION: &str = "orch";

/// Airflow's sections and options, each with the corresponding setting of orch.
pub static OF_AIRFLOW: [(&str, &str, &str); 16] = [
    ("core", "dags_folder", "dags_folder"),
    ("core", "parallelism", "slots"),
    ("core", "load_examples", "examples"),
    ("core", "dags_are_paused_at_creation", "paused_at_creation"),
    ("core", "fernet_key", "secret_key"),
    ("core", "max_map_length", "max_map_elements"),
    ("core", "test_connection", "test_connection"),
    ("database", "sql_alchemy_conn", "database_url"),
    ("api", "host", "host"),
    ("api", "port", "port"),
    ("api", "base_url", "base_path"),
    ("api", "ssl_cert", "ssl_cert"),
    ("api", "ssl_key", "ssl_key"),
    ("api", "test_connection", "test_connection"),
    ("logging", "logging_level", "log"),
    ("celery", "worker_concurrency", "slots"),
];

/// Returns the setting of orch that corresponds to an option of Airflow.
pub fn own_setting(section: &str, option: &str) -> Option<String> {
    let same = OF_AIRFLOW.iter().find(|(of, name, _)| *of == section && *name == option);
    same.map(|(.., own)| (*own).to_owned())
}
