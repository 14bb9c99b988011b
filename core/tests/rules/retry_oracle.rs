//! Compares retry delays with Airflow 3.3.2 (`tests/oracle/schedule/record.py`).

use chrono::DateTime;
use orch_core::retry::{logical_date_key, retry_delay};
use serde_json::Value;

#[test]
fn retries_wait_as_long_as_in_airflow() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracle/schedule/retries.json");
    let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    for row in &rows {
        let try_no = row[6].as_u64().unwrap() as u32;
        let key = logical_date_key(row[5].as_i64().map(|at| DateTime::from_timestamp_micros(at).unwrap()));
        let (base, backoff, max) = (row[0].as_u64().unwrap(), row[1].as_f64().unwrap(), row[2].as_u64());
        let delay = retry_delay(base, backoff, max, &text(&row[3]), &text(&row[4]), &key, try_no);
        assert_eq!(delay.as_millis(), u128::from(row[7].as_u64().unwrap()), "{row}");
    }
}
