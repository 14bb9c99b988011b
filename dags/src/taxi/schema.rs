//! The tables `nyc_taxi.trips` and `nyc_taxi.daily_summary` with their contracts, and the names of trip columns in
//! files.
//!
//! A column that the city adds to its files goes into [`LATER`]: the table gets the column with the first file that has
//! it, and older trips have null in it.

use super::NAMESPACE;
use crate::common::model::{Model, models, sql_files};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use iceberg::spec::Transform;
use orch::{TaskResult, fatal};
use orch_lake::contract::{Contract, Policy};
use orch_lake::table::spec::{Column, Decimal, Kind, Timestamp};
use orch_lake::{TableSpec, columns};
use std::sync::{Arc, LazyLock};

/// Dollars or miles with two decimals.
type Amount = Decimal<12, 2>;

pub const TRIPS: TableSpec = TableSpec::new(
    NAMESPACE,
    "trips",
    &[],
    columns! {
        vendor_id: Option<i32>, pickup_datetime: Timestamp, dropoff_datetime: Timestamp, passenger_count: i32,
        trip_distance: Amount, rate_code_id: Option<i32>, store_and_fwd_flag: Option<String>,
        pickup_location_id: i32, dropoff_location_id: i32, payment_type: Option<i32>,
        fare_amount: Amount, extra: Option<Amount>, mta_tax: Option<Amount>, tip_amount: Option<Amount>,
        tolls_amount: Option<Amount>, improvement_surcharge: Option<Amount>, total_amount: Amount,
        congestion_surcharge: Option<Amount>, airport_fee: Option<Amount>,
        load_date: Timestamp, year: i32, month: i32, day: i32, source_file: String,
    },
)
.partition(&[("year", Transform::Identity), ("month", Transform::Identity)])
.sorted(&["pickup_datetime"]);

/// Columns that are added to `trips` with the first file that has them.
pub const LATER: &[Column] = columns! { cbd_congestion_fee: Option<Amount> };

/// Inputs of `sql/sums.sql` and `sql/daily_summary.sql`: rows of [`TRIPS`], and the time of the run.
pub const DAILY_INPUTS: [TableSpec; 2] =
    [TableSpec { name: "rows", ..TRIPS }, TableSpec::new(NAMESPACE, "clock", &[], columns! { micros: i64 })];

static DAILY: LazyLock<Vec<Model>> = LazyLock::new(|| {
    models(NAMESPACE, &DAILY_INPUTS, sql_files!["sums", "daily_summary"]).expect("a test reads these files")
});

/// Returns the statement that sums trips by day.
pub fn sums() -> &'static str {
    DAILY[0].statement
}

pub fn daily_summary() -> &'static Model {
    &DAILY[1]
}

pub const ZONES: &str = "reference.taxi_zones";
const MAX_USUAL_MILES: &str = "1000.00";
const MAX_USUAL_DOLLARS: &str = "10000.00";

/// Returns the contract of `trips`. Without known zones, trips to unknown zones are not quarantined. Trips are not
/// checked for uniqueness: the city does not number them, and two may have the same values.
pub fn trips_contract(has_zones: bool) -> Contract {
    let unknown_zone = if has_zones { Policy::Quarantine } else { Policy::Warn };
    Contract::of(TRIPS.uri())
        .key(["pickup_datetime", "pickup_location_id", "dropoff_location_id"])
        .not_null(["pickup_location_id", "dropoff_location_id"])
        .or(Policy::Quarantine)
        .at_most("trip_distance", MAX_USUAL_MILES)
        .or(Policy::Warn)
        .at_most("total_amount", MAX_USUAL_DOLLARS)
        .or(Policy::Warn)
        .references(["pickup_location_id"], ZONES)
        .or(unknown_zone)
        .references(["dropoff_location_id"], ZONES)
        .or(unknown_zone)
}

pub fn daily_contract() -> Contract {
    daily_summary().table.contract().key(["trip_date"]).unique(["trip_date"]).at_least("total_trips", 1)
}

/// Columns of `trips` that are in no file.
const DERIVED: [&str; 5] = ["load_date", "year", "month", "day", SOURCE_FILE];
/// Column with the name of the trip's file.
pub const SOURCE_FILE: &str = "source_file";

const NOT_IN_ALL_FILES: [&str; 3] = ["congestion_surcharge", "airport_fee", "cbd_congestion_fee"];

/// Alternative names of columns in files, in the form that [`fold`] returns.
const OTHER_NAMES: [(&str, &[&str]); 14] = [
    ("vendor_id", &["vendor", "vendorname"]),
    ("pickup_datetime", &["tpeppickupdatetime", "lpeppickupdatetime", "trippickupdatetime", "pickupat"]),
    ("dropoff_datetime", &["tpepdropoffdatetime", "lpepdropoffdatetime", "tripdropoffdatetime", "dropoffat"]),
    ("passenger_count", &["passengers"]),
    ("trip_distance", &["distance"]),
    ("rate_code_id", &["ratecode"]),
    ("store_and_fwd_flag", &["storeandforward", "storeandforwardflag"]),
    ("pickup_location_id", &["pulocationid"]),
    ("dropoff_location_id", &["dolocationid"]),
    ("fare_amount", &["fareamt", "fare"]),
    ("extra", &["surcharge"]),
    ("tip_amount", &["tipamt", "tip"]),
    ("tolls_amount", &["tollsamt", "tolls"]),
    ("total_amount", &["totalamt", "total"]),
];

/// Returns the columns that a file may have, in the order of the table.
pub fn file_columns() -> impl Iterator<Item = &'static Column> {
    TRIPS.columns.iter().filter(|column| !DERIVED.contains(&column.name)).chain(LATER)
}

/// Returns the type in which the values of a file are cleaned. Amounts are checked before they are rounded to
/// hundredths.
pub fn file_type(column: &Column) -> DataType {
    match column.kind {
        Kind::Int | Kind::Decimal(..) => DataType::Float64,
        other => other.arrow(),
    }
}

/// Returns true if a column of a Parquet file can be read as this column.
pub fn is_readable(column: &Column, of: &DataType) -> bool {
    let of = if let DataType::Dictionary(_, values) = of { values } else { of };
    match column.kind {
        _ if of.is_null() => true,
        Kind::Int => of.is_integer() || of.is_floating(),
        Kind::Timestamp => matches!(of, DataType::Timestamp(..)),
        Kind::Text => matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        _ => of.is_numeric(),
    }
}

#[derive(Debug, Clone)]
pub struct Mapping {
    /// Columns of a trip with their names in the file, in the order of the table.
    pub found: Vec<(&'static Column, String)>,
    /// Columns of the file that are not in `trips`.
    pub unknown: Vec<String>,
}

/// Finds the trip columns among the column names of a file. The error lists all columns that are missing or ambiguous.
pub(super) fn map_columns(location: &str, names: &[String]) -> TaskResult<Mapping> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for column in file_columns() {
        let mut matching = names.iter().filter(|name| column_named(name) == Some(column.name));
        match (matching.next(), matching.next()) {
            (Some(name), None) => found.push((column, name.clone())),
            (Some(one), Some(other)) => {
                wrong.push(format!("has `{one}` and `{other}`, which are both `{}`", column.name));
            }
            (None, _) if NOT_IN_ALL_FILES.contains(&column.name) => {}
            (None, _) => wrong.push(format!("has no column `{}`", column.name)),
        }
    }
    if !wrong.is_empty() {
        return Err(fatal(format!("`{location}` {}\nhint: its columns are {}", wrong.join(", "), names.join(", "))));
    }
    let unknown = names.iter().filter(|name| column_named(name).is_none()).cloned().collect();
    Ok(Mapping { found, unknown })
}

fn column_named(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    let other = OTHER_NAMES.iter().find(|(_, names)| names.contains(&folded.as_str())).map(|(name, _)| *name);
    other.or_else(|| file_columns().map(|column| column.name).find(|name| fold(name) == folded))
}

/// Removes case, spaces and underscores.
fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

impl Mapping {
    /// Returns the columns of [`LATER`] that the file has.
    pub fn later(&self) -> impl Iterator<Item = &'static Column> {
        self.found.iter().map(|(column, _)| *column).filter(|column| LATER.contains(column))
    }

    /// Returns the schema of `trips` with the later columns of this file, for rows that are not yet checked: only
    /// `source_file` is required.
    pub fn trips_schema(&self) -> SchemaRef {
        let columns = TRIPS.columns.iter().chain(self.later());
        let fields = columns.map(|column| column.field().with_nullable(column.name != SOURCE_FILE));
        Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLC_2025: &str = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,\
        store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,\
        improvement_surcharge,total_amount,congestion_surcharge,Airport_fee,cbd_congestion_fee";

    fn map(names: &str) -> TaskResult<Mapping> {
        map_columns("x.csv", &names.split(',').map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn names_of_all_years_map_to_the_same_columns() {
        for names in [TLC_2025.to_string(), TLC_2025.to_uppercase(), TLC_2025.replace('_', " ")] {
            let found = map(&names).expect("no column is missing").found;
            assert!(found.iter().map(|(column, _)| *column).eq(file_columns()));
            assert!(found.iter().map(|(_, name)| name.as_str()).eq(names.split(',')));
        }
        let (old, _) = TLC_2025.split_once(",congestion").expect("the column came later");
        assert_eq!(map(old).expect("old files lack three columns").later().count(), 0);
        assert_eq!(map(&format!("{TLC_2025},mood")).expect("unknown columns are allowed").unknown, ["mood"]);
        let wrong = TLC_2025.replace("trip_distance", "way").replace("extra", "Total_Amt");
        let error = map(&wrong).expect_err("columns are missing").to_string();
        let problems = "`x.csv` has no column `trip_distance`, has no column `extra`, \
                        has `Total_Amt` and `total_amount`, which are both";
        assert!(error.starts_with(problems), "{error}");
    }
}
