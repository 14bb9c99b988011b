//! The fields that Airflow's own clients require: a missing field or a wrong type fails their strict models.

use serde_json::Value;

/// Field and type; `?` means nullable.
pub(crate) const RUN: &[(&str, &str)] = &[
    ("dag_run_id", "text"),
    ("dag_id", "text"),
    ("logical_date", "time?"),
    ("queued_at", "time?"),
    ("start_date", "time?"),
    ("end_date", "time?"),
    ("duration", "number?"),
    ("data_interval_start", "time?"),
    ("data_interval_end", "time?"),
    ("run_after", "time"),
    ("last_scheduling_decision", "time?"),
    ("run_type", "text"),
    ("state", "text"),
    ("triggered_by", "text?"),
    ("triggering_user_name", "text?"),
    ("conf", "object?"),
    ("note", "text?"),
    ("dag_versions", "list"),
    ("bundle_version", "text?"),
    ("dag_display_name", "text"),
    ("partition_key", "text?"),
    ("partition_date", "time?"),
];

pub(crate) const BACKFILL: &[(&str, &str)] = &[
    ("id", "integer"),
    ("dag_id", "text"),
    ("from_date", "time"),
    ("to_date", "time"),
    ("dag_run_conf", "object?"),
    ("is_paused", "flag"),
    ("reprocess_behavior", "text"),
    ("max_active_runs", "integer"),
    ("created_at", "time"),
    ("completed_at", "time?"),
    ("updated_at", "time"),
    ("dag_display_name", "text"),
];

pub(crate) const POOL: &[(&str, &str)] = &[
    ("name", "text"),
    ("slots", "integer"),
    ("description", "text?"),
    ("include_deferred", "flag"),
    ("occupied_slots", "integer"),
    ("running_slots", "integer"),
    ("queued_slots", "integer"),
    ("scheduled_slots", "integer"),
    ("open_slots", "integer"),
    ("deferred_slots", "integer"),
    ("team_name", "text?"),
];

pub(crate) const VERSION: &[(&str, &str)] = &[
    ("id", "uuid"),
    ("version_number", "integer"),
    ("dag_id", "text"),
    ("bundle_name", "text?"),
    ("bundle_version", "text?"),
    ("created_at", "time"),
    ("dag_display_name", "text"),
    ("bundle_url", "text?"),
];

pub(crate) const INSTANCE: &[(&str, &str)] = &[
    ("id", "uuid"),
    ("task_id", "text"),
    ("dag_id", "text"),
    ("dag_run_id", "text"),
    ("map_index", "integer"),
    ("logical_date", "time?"),
    ("run_after", "time"),
    ("start_date", "time?"),
    ("end_date", "time?"),
    ("duration", "number?"),
    ("state", "text?"),
    ("try_number", "integer"),
    ("max_tries", "integer"),
    ("task_display_name", "text"),
    ("dag_display_name", "text"),
    ("hostname", "text?"),
    ("unixname", "text?"),
    ("pool", "text"),
    ("pool_slots", "integer"),
    ("queue", "text?"),
    ("priority_weight", "integer?"),
    ("operator", "text?"),
    ("operator_name", "text?"),
    ("queued_when", "time?"),
    ("scheduled_when", "time?"),
    ("pid", "integer?"),
    ("executor", "text?"),
    ("executor_config", "text"),
    ("note", "text?"),
    ("rendered_map_index", "text?"),
    ("rendered_fields", "object"),
    ("trigger", "object?"),
    ("triggerer_job", "object?"),
    ("dag_version", "object?"),
];

pub(crate) const DAG: &[(&str, &str)] = &[
    ("dag_id", "text"),
    ("dag_display_name", "text"),
    ("is_paused", "flag"),
    ("is_stale", "flag"),
    ("last_parsed_time", "time?"),
    ("last_parse_duration", "number?"),
    ("last_expired", "time?"),
    ("bundle_name", "text?"),
    ("bundle_version", "text?"),
    ("relative_fileloc", "text?"),
    ("fileloc", "text"),
    ("description", "text?"),
    ("timetable_summary", "text?"),
    ("timetable_description", "text?"),
    ("timetable_partitioned", "flag"),
    ("timetable_periodic", "flag"),
    ("tags", "list"),
    ("max_active_tasks", "integer"),
    ("max_active_runs", "integer?"),
    ("max_consecutive_failed_dag_runs", "integer"),
    ("has_task_concurrency_limits", "flag"),
    ("has_import_errors", "flag"),
    ("next_dagrun_logical_date", "time?"),
    ("next_dagrun_data_interval_start", "time?"),
    ("next_dagrun_data_interval_end", "time?"),
    ("next_dagrun_run_after", "time?"),
    ("allowed_run_types", "list?"),
    ("owners", "list"),
    ("is_backfillable", "flag"),
    ("file_token", "text"),
];

/// Checks that the value has exactly these fields with these types.
pub(crate) fn assert_shape(value: &Value, fields: &[(&str, &str)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("an object, not {value}"));
    for (name, expected) in fields {
        let field = object.get(*name).unwrap_or_else(|| panic!("`{name}` is missing in {value}"));
        let (kind, nullable) = expected.strip_suffix('?').map_or((*expected, false), |kind| (kind, true));
        let fits = match kind {
            "text" => field.is_string(),
            "uuid" => field.as_str().is_some_and(|text| text.parse::<uuid::Uuid>().is_ok()),
            "time" => field.as_str().is_some_and(is_time),
            "number" => field.is_number(),
            "integer" => field.is_i64(),
            "flag" => field.is_boolean(),
            "list" => field.is_array(),
            "object" => field.is_object(),
            other => panic!("`{other}` is no type"),
        };
        assert!(fits || (nullable && field.is_null()), "`{name}` is {field}, not {expected}");
    }
    for name in object.keys() {
        assert!(fields.iter().any(|(known, _)| known == name), "`{name}` is not Airflow's");
    }
}

fn is_time(text: &str) -> bool {
    text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}
