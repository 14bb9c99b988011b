//! The columns of a trip: what they are called in the table, and what files have called them over the years.
//!
//! Names are compared without case, spaces and underscores. A column that the city adds is added here, as `Later`: the
//! table gets it with the first file that has it, and rows from before have null in it.

use crate::common::nyc::schema::HUNDREDTHS;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::{PrimitiveType, Type};
use orch::{TaskResult, fatal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaxiColumnType {
    Int,
    /// Dollars or miles, exact to the hundredth.
    Amount,
    /// A moment on the clocks of New York, without a zone.
    Time,
    Text,
}

/// Which files have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// All: one without it is something else.
    Always,
    /// It came at some time; the table has it anyway.
    Sometimes,
    /// It came at some time, and comes into the table then.
    Later,
}

/// Whether a trip that is in the table may lack it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    Never,
    Allowed,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: TaxiColumnType,
    pub need: Need,
    pub null: Null,
    /// What else it was called, in small letters and digits.
    pub also: &'static [&'static str],
}

const fn column(name: &'static str, kind: TaxiColumnType, also: &'static [&'static str]) -> Column {
    Column { name, kind, need: Need::Always, null: Null::Allowed, also }
}

impl Column {
    const fn never_null(self) -> Column {
        Column { null: Null::Never, ..self }
    }

    const fn since(self, need: Need) -> Column {
        Column { need, ..self }
    }
}

/// In the order of the table.
pub static COLUMNS: [Column; 20] = [
    column("vendor_id", TaxiColumnType::Int, &["vendor", "vendorname"]),
    column(
        "pickup_datetime",
        TaxiColumnType::Time,
        &["tpeppickupdatetime", "lpeppickupdatetime", "trippickupdatetime", "pickupat"],
    )
    .never_null(),
    column(
        "dropoff_datetime",
        TaxiColumnType::Time,
        &["tpepdropoffdatetime", "lpepdropoffdatetime", "tripdropoffdatetime", "dropoffat"],
    )
    .never_null(),
    column("passenger_count", TaxiColumnType::Int, &["passengers"]).never_null(),
    column("trip_distance", TaxiColumnType::Amount, &["distance"]).never_null(),
    column("rate_code_id", TaxiColumnType::Int, &["ratecode"]),
    column("store_and_fwd_flag", TaxiColumnType::Text, &["storeandforward", "storeandforwardflag"]),
    column("pickup_location_id", TaxiColumnType::Int, &["pulocationid"]).never_null(),
    column("dropoff_location_id", TaxiColumnType::Int, &["dolocationid"]).never_null(),
    column("payment_type", TaxiColumnType::Int, &[]),
    column("fare_amount", TaxiColumnType::Amount, &["fareamt", "fare"]).never_null(),
    column("extra", TaxiColumnType::Amount, &["surcharge"]),
    column("mta_tax", TaxiColumnType::Amount, &[]),
    column("tip_amount", TaxiColumnType::Amount, &["tipamt", "tip"]),
    column("tolls_amount", TaxiColumnType::Amount, &["tollsamt", "tolls"]),
    column("improvement_surcharge", TaxiColumnType::Amount, &[]),
    column("total_amount", TaxiColumnType::Amount, &["totalamt", "total"]).never_null(),
    column("congestion_surcharge", TaxiColumnType::Amount, &[]).since(Need::Sometimes),
    column("airport_fee", TaxiColumnType::Amount, &[]).since(Need::Sometimes),
    column("cbd_congestion_fee", TaxiColumnType::Amount, &[]).since(Need::Later),
];

/// A column of a file that is one of ours.
#[derive(Debug, Clone, Copy)]
pub struct MappedColumn {
    pub column: &'static Column,
    /// Its place in the file.
    pub at: usize,
}

/// Which column of a file is which of ours.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// In the order of the table.
    pub found: Vec<MappedColumn>,
    /// Names of the file that nobody knows.
    pub unknown: Vec<String>,
}

/// # Errors
/// A fatal error when a column is missing, or two are the same: all that is wrong, and what there is.
pub fn mapping(location: &str, names: &[String]) -> TaskResult<Mapping> {
    let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for column in &COLUMNS {
        let is_it = |name: &String| *name == fold(column.name) || column.also.contains(&name.as_str());
        let mut places = folded.iter().enumerate().filter(|(_, name)| is_it(name)).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(at), None) => found.push(MappedColumn { column, at }),
            (Some(one), Some(other)) => {
                wrong.push(format!("has `{}` and `{}`, which are both `{}`", names[one], names[other], column.name));
            }
            (None, _) if column.need == Need::Always => wrong.push(format!("has no column `{}`", column.name)),
            (None, _) => {}
        }
    }
    if !wrong.is_empty() {
        return Err(fatal(format!("`{location}` {}\nhint: its columns are {}", wrong.join(", "), names.join(", "))));
    }
    let known = |at: usize| found.iter().any(|found| found.at == at);
    let unknown = names.iter().enumerate().filter(|(at, _)| !known(*at)).map(|(_, name)| name.clone()).collect();
    Ok(Mapping { found, unknown })
}

fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

impl Mapping {
    pub fn place_of(&self, column: &Column) -> Option<usize> {
        self.found.iter().find(|found| found.column == column).map(|found| found.at)
    }

    /// The columns that the table has from this file on, if it has not had them before.
    pub fn later(&self) -> Vec<&'static Column> {
        self.found.iter().map(|found| found.column).filter(|column| column.need == Need::Later).collect()
    }
}

impl TaxiColumnType {
    pub fn arrow(self) -> DataType {
        match self {
            TaxiColumnType::Int => DataType::Int32,
            TaxiColumnType::Amount => DataType::Decimal128(HUNDREDTHS.0, HUNDREDTHS.1),
            TaxiColumnType::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            TaxiColumnType::Text => DataType::Utf8,
        }
    }

    /// As a text is read: numbers that are whole may be written as `1.0`.
    pub fn text(self) -> DataType {
        match self {
            TaxiColumnType::Int | TaxiColumnType::Amount => DataType::Float64,
            TaxiColumnType::Time | TaxiColumnType::Text => self.arrow(),
        }
    }

    pub fn iceberg(self) -> Type {
        Type::Primitive(match self {
            TaxiColumnType::Int => PrimitiveType::Int,
            TaxiColumnType::Amount => {
                PrimitiveType::Decimal { precision: HUNDREDTHS.0.into(), scale: HUNDREDTHS.1.unsigned_abs().into() }
            }
            TaxiColumnType::Time => PrimitiveType::Timestamp,
            TaxiColumnType::Text => PrimitiveType::String,
        })
    }

    /// Can a column of this type be made of one of that type, if its values fit?
    pub fn takes(self, of: &DataType) -> bool {
        let of = if let DataType::Dictionary(_, values) = of { values } else { of };
        match self {
            _ if of.is_null() => true,
            TaxiColumnType::Int => of.is_integer() || of.is_floating(),
            TaxiColumnType::Amount => of.is_numeric(),
            TaxiColumnType::Time => matches!(of, DataType::Timestamp(..)),
            TaxiColumnType::Text => matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        }
    }
}

/// What is added to the columns of a file.
const ADDED: [(&str, DataType); 5] = [
    ("load_date", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("year", DataType::Int32),
    ("month", DataType::Int32),
    ("day", DataType::Int32),
    ("source_file", DataType::Utf8),
];

/// `nyc_taxi.trips`, as it begins, with some of the columns that came later.
pub fn trips(later: &[&'static Column]) -> Schema {
    let field = |column: &Column| Field::new(column.name, column.kind.arrow(), column.null == Null::Allowed);
    let base = COLUMNS.iter().filter(|column| column.need != Need::Later).map(field);
    let added = ADDED.into_iter().map(|(name, of)| Field::new(name, of, false));
    Schema::new(base.chain(added).chain(later.iter().map(|column| field(column))).collect::<Vec<_>>())
}

/// `nyc_taxi.daily_summary`.
pub fn daily_summary() -> Schema {
    let field = |name, of| Field::new(name, of, false);
    let means = ["avg_trip_distance", "avg_fare_amount", "avg_tip_amount", "avg_total_amount"];
    let mut fields = vec![
        field("trip_date", DataType::Date32),
        field("year", DataType::Int32),
        field("month", DataType::Int32),
        field("total_trips", DataType::Int64),
        field("total_passengers", DataType::Int64),
    ];
    // Of no tip there is no mean.
    fields.extend(means.map(|name| Field::new(name, DataType::Float64, name == "avg_tip_amount")));
    fields.push(field("last_updated", DataType::Timestamp(TimeUnit::Microsecond, None)));
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLC_2025: &str = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,\
        store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,\
        improvement_surcharge,total_amount,congestion_surcharge,Airport_fee,cbd_congestion_fee";

    fn names(list: &str) -> Vec<String> {
        list.split(',').map(Into::into).collect()
    }

    #[test]
    fn all_names_of_the_years_are_one() {
        let ours: Vec<String> = COLUMNS.iter().map(|column| column.name.into()).collect();
        for of in [names(TLC_2025), names(&TLC_2025.to_uppercase()), ours, names(&TLC_2025.replace('_', " "))] {
            let mapping = mapping("file:///x.csv", &of).expect("nothing is missing");
            assert_eq!(mapping.found.iter().map(|found| found.at).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
            assert_eq!((mapping.unknown.len(), mapping.later().len()), (0, 1));
        }
        let old = mapping("x", &names(TLC_2025)[..17]).expect("what came later may be missing");
        assert!(old.later().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        let text =
            TLC_2025.replace("trip_distance", "way").replace("extra", "Total_Amt").replace("PULocationID", "lat");
        let error = mapping("file:///x.csv", &names(&text)).expect_err("much is wrong").to_string();
        for words in ["`file:///x.csv` has no column `trip_distance`", "no column `pickup_location_id`", "`extra`"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert!(error.contains("has `Total_Amt` and `total_amount`, which are both `total_amount`"), "{error}");
        let more = mapping("x", &names(&format!("{TLC_2025},mood"))).expect("it is only more");
        assert_eq!(more.unknown, ["mood"]);
    }

    #[test]
    fn no_name_is_that_of_two_columns() {
        let all: Vec<String> = COLUMNS
            .iter()
            .flat_map(|column| column.also.iter().map(ToString::to_string).chain([fold(column.name)]))
            .collect();
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
