//! Tables whose rows belong to days, and conversion between rows and structs.

use super::days::Days;
use super::schema::ZONES;
use arrow::array::RecordBatch;
use arrow::json::ArrayWriter;
use orch::{Asset, TaskResult, asset};
use orch_lake::TableSpec;
use orch_lake::batches::Batches;
use orch_lake::contract::Contract;
use orch_lake::frame::batches_of;
use orch_lake::publish::Layer;
use polars::prelude::{Column, DataFrame};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table whose rows are replaced by day.
#[derive(Debug)]
pub struct DailyTable {
    pub spec: TableSpec,
    /// Column with the day or time of a row.
    pub day: &'static str,
    /// Adds rules to the contract [`TableSpec::contract`].
    pub rules: fn(Contract) -> Contract,
}

impl DailyTable {
    pub fn asset(&self) -> Asset {
        table_asset(&self.spec)
    }

    pub fn contract(&self) -> Contract {
        (self.rules)(self.spec.contract())
    }

    /// Returns a layer that replaces the rows of some days.
    pub fn replacing(&self, days: Days, rows: Batches) -> Layer {
        Layer::new(&self.spec, rows).contract(self.contract()).replacing(days.rows(self.day))
    }
}

/// Returns the asset of a table, in the group of its namespace.
pub fn table_asset(table: &TableSpec) -> Asset {
    asset(&table.uri()).named(&format!("{}.{}", table.namespace, table.name)).group(table.namespace)
}

/// Requires that each of these columns contains the number of a taxi zone.
pub(crate) fn in_zones(contract: Contract, columns: &[&str]) -> Contract {
    columns.iter().fold(contract, |contract, column| contract.references([*column], ZONES.uri()))
}

/// Declares a struct with a field for each column of a table, and its `COLUMNS`.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($field:ident: $of:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        $vis struct $name {
            $($vis $field: $of),+
        }

        impl $name {
            $vis const COLUMNS: &'static [orch_lake::table::spec::Column] = orch_lake::columns! { $($field: $of),+ };
        }
    };
}
pub(crate) use row;

/// Returns a frame with one column of integers.
pub fn frame_of(name: &str, values: Vec<i64>) -> TaskResult<DataFrame> {
    Ok(DataFrame::new(values.len(), vec![Column::new(name.into(), values)])?)
}

/// Converts structs whose fields are the columns of a table to a batch.
///
/// # Errors
/// Returns an error if the fields are not the columns of the table.
pub fn batch_of<R: Serialize>(table: &TableSpec, rows: &[R]) -> TaskResult<RecordBatch> {
    crate::common::rows::batch_of(&table.schema(), rows)
}

/// Converts the rows of a frame to structs whose fields are its columns. Use it for small frames only: the rows pass
/// through JSON, in which the last bit of a double may change.
///
/// # Errors
/// Returns an error if a column is missing or has another type.
pub fn structs_of<R: DeserializeOwned>(frame: DataFrame) -> TaskResult<Vec<R>> {
    let mut json = ArrayWriter::new(Vec::new());
    for batch in batches_of(frame)?.1 {
        json.write(&batch)?;
    }
    json.finish()?;
    Ok(serde_json::from_slice(&json.into_inner())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_lake::frame::from_batches;

    row! {
        Sample { at: chrono::NaiveDateTime, day: chrono::NaiveDate, made: chrono::DateTime<chrono::Utc>, number: f64, note: Option<String> }
    }

    #[test]
    fn structs_become_rows() {
        let table = TableSpec::new("test", "samples", &["at"], Sample::COLUMNS);
        let at = "2019-03-10T05:00:00".parse::<chrono::NaiveDateTime>().expect("a time");
        let row = Sample { at, day: at.date(), made: at.and_utc(), number: 0.1 + 0.2, note: None };
        let batch = batch_of(&table, &[row.clone(), row]).expect("a batch");
        assert_eq!((batch.schema(), batch.num_rows()), (table.schema(), 2));
        let frame = from_batches(&[batch]).expect("a frame");
        assert_eq!(frame.column("number").and_then(|of| Ok(of.f64()?.get(1))).expect("a number"), Some(0.1 + 0.2));
        assert_eq!(batch_of::<Sample>(&table, &[]).expect("a batch").num_rows(), 0);
        let days: Vec<std::collections::BTreeMap<String, serde_json::Value>> = structs_of(frame).expect("rows");
        assert_eq!((days.len(), days[0]["day"].as_str()), (2, Some("2019-03-10")));
    }
}
