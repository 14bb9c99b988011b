//! Trips that never were: a look-alike of the city's files, for those who have no network (`sample://taxi`).
//!
//! It has their names and types, and their habits: numbers of passengers that are missing or are doubles, no distance,
//! fares that were given back, a trip of the month before, a column that comes in 2025. The same seed gives the same
//! file. As with the city a month is there two months later.

use crate::common::dice::Dice;
use crate::common::nyc::month::Month;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use orch::{Connection, TaskResult, fatal};
use orch_lake::batches::{BATCH_ROWS, Batches};
use std::sync::Arc;

/// As the city does.
const PUBLISHED_AFTER: u32 = 2;
const MOST_TRIPS: u64 = 100_000_000;
const SECOND: i64 = 1_000_000;
/// From which month on the city asks for one more fee.
const FEE_SINCE: &str = "2025-01";
/// Of 1,000 trips, by hour of the day.
const HOURS: [u32; 24] = [25, 17, 11, 7, 5, 6, 15, 27, 36, 40, 42, 45, 49, 51, 56, 58, 58, 65, 71, 66, 60, 59, 55, 41];
const PASSENGERS: [(Option<i64>, u32); 8] = [
    (Some(1), 720),
    (Some(2), 140),
    (Some(3), 35),
    (Some(4), 20),
    (Some(5), 20),
    (Some(6), 10),
    (Some(0), 10),
    (None, 45),
];
const PAYMENTS: [(i64, u32); 4] = [(1, 76), (2, 22), (3, 1), (4, 1)];
/// Where most people get in.
const BUSY: [i64; 16] = [237, 161, 236, 132, 162, 142, 186, 230, 138, 170, 239, 163, 234, 68, 79, 48];
const LAST_ZONE: u32 = 263;

/// Which trips, and how many of them in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub seed: u64,
    pub trips: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { seed: 1, trips: 6_000 }
    }
}

#[derive(Debug, Clone)]
struct Trip {
    vendor: i64,
    pickup: i64,
    dropoff: i64,
    passengers: Option<i64>,
    /// In hundredths, as all amounts.
    distance: i64,
    zones: (i64, i64),
    payment: i64,
    fare: i64,
    extra: i64,
    tip: i64,
    toll: i64,
    congestion: i64,
    airport: i64,
    fee: i64,
}

impl Sample {
    /// `sample://taxi?trips=6000&seed=7`.
    ///
    /// # Errors
    /// A fatal error when one of them is no number.
    pub fn of(connection: &Connection) -> TaskResult<Sample> {
        let number = |name: &str, usual: u64, most: u64| match connection.extra_field(name) {
            None => Ok(usual),
            Some(value) => {
                let number = value.as_u64().or_else(|| value.as_str()?.parse().ok()).filter(|number| *number <= most);
                let id = &connection.id;
                number.ok_or_else(|| fatal(format!("connection `{id}`: `{name}` is no number up to {most}")))
            }
        };
        let usual = Sample::default();
        Ok(Sample { seed: number("seed", usual.seed, u64::MAX)?, trips: number("trips", usual.trips, MOST_TRIPS)? })
    }

    /// Is the file of a month there?
    pub fn has(&self, month: Month, now: DateTime<Utc>) -> bool {
        self.trips > 0 && month <= Month::of(now.date_naive()).before(PUBLISHED_AFTER)
    }

    /// The rows of a file, made while they are asked for.
    pub fn file(&self, month: Month) -> Batches {
        let with_fee = month.to_string().as_str() >= FEE_SINCE;
        let (schema, total) = (schema(with_fee), self.trips);
        let mut dice = Dice::new(self.seed, &format!("taxi {month}"));
        let (given, mut made) = (schema.clone(), 0);
        let batches = std::iter::from_fn(move || {
            let rows = total.saturating_sub(made).min(BATCH_ROWS as u64);
            if rows == 0 && made > 0 {
                return None;
            }
            let trips: Vec<Trip> =
                (made..made + rows).map(|number| trip(&mut dice, month, number, total, with_fee)).collect();
            made = (made + rows).max(1);
            Some(batch(&given, &trips))
        });
        Batches::new(schema, futures::stream::iter(batches))
    }
}

fn trip(dice: &mut Dice, month: Month, number: u64, total: u64, with_fee: bool) -> Trip {
    let (first, end) = month.micros();
    let days = (end - first) / (86_400 * SECOND);
    // Roughly in the order of their days, as the city's are.
    let day = (number as i64 * days / total.max(1) as i64).min(days - 1);
    let hour = HOURS.iter().enumerate().collect::<Vec<_>>();
    let hour = dice.weighted(&hour, |(_, weight)| **weight).0 as i64;
    let mut pickup = first + ((day * 24 + hour) * 3_600 + i64::from(dice.below(3_600))) * SECOND;
    if number == total / 2 {
        pickup = first - i64::from(dice.between(1, 600)) * SECOND;
    }
    let far = dice.below(8) == 0;
    let distance = match dice.below(100) {
        0 => 0,
        _ => i64::from(dice.between(40, if far { 1_900 } else { 420 })),
    };
    let seconds = 120 + distance * i64::from(dice.between(200, 420)) / 100;
    let zone = |dice: &mut Dice| match dice.below(5) {
        0 => i64::from(dice.between(1, LAST_ZONE)),
        _ => *dice.pick(&BUSY),
    };
    let passengers = dice.weighted(&PASSENGERS, |(_, weight)| *weight).0;
    let payment = if passengers.is_none() { 0 } else { dice.weighted(&PAYMENTS, |(_, weight)| *weight).0 };
    let fare = 300 + (distance * 250 / 100 + seconds) / 10 * 10;
    let tip = if payment == 1 { fare * i64::from(dice.between(10, 30)) / 100 } else { 0 };
    // Given back.
    let sign = if dice.below(200) == 0 { -1 } else { 1 };
    Trip {
        vendor: i64::from(dice.between(1, 2)),
        pickup,
        dropoff: pickup + seconds * SECOND,
        passengers,
        distance,
        zones: (zone(dice), zone(dice)),
        payment,
        fare: fare * sign,
        extra: i64::from(dice.below(3)) * 50 * sign,
        tip: tip * sign,
        toll: if far && dice.below(4) == 0 { 694 * sign } else { 0 },
        congestion: 250 * sign,
        airport: if dice.below(12) == 0 { 175 * sign } else { 0 },
        fee: if with_fee { 75 * sign } else { 0 },
    }
}

fn schema(with_fee: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut fields = vec![
        ("VendorID", DataType::Int64),
        ("tpep_pickup_datetime", time.clone()),
        ("tpep_dropoff_datetime", time),
        ("passenger_count", DataType::Float64),
        ("trip_distance", DataType::Float64),
        ("RatecodeID", DataType::Float64),
        ("store_and_fwd_flag", DataType::Utf8),
        ("PULocationID", DataType::Int64),
        ("DOLocationID", DataType::Int64),
        ("payment_type", DataType::Int64),
        ("fare_amount", DataType::Float64),
        ("extra", DataType::Float64),
        ("mta_tax", DataType::Float64),
        ("tip_amount", DataType::Float64),
        ("tolls_amount", DataType::Float64),
        ("improvement_surcharge", DataType::Float64),
        ("total_amount", DataType::Float64),
        ("congestion_surcharge", DataType::Float64),
        ("Airport_fee", DataType::Float64),
    ];
    if with_fee {
        fields.push(("cbd_congestion_fee", DataType::Float64));
    }
    Arc::new(Schema::new(fields.into_iter().map(|(name, of)| Field::new(name, of, true)).collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, trips: &[Trip]) -> TaskResult<RecordBatch> {
    let ints = |of: fn(&Trip) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(trips.iter().map(of))) };
    let times = |of: fn(&Trip) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(trips.iter().map(of)))
    };
    let amounts = |of: fn(&Trip) -> i64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(trips.iter().map(|trip| of(trip) as f64 / 100.0)))
    };
    let sign = |trip: &Trip| trip.fare.signum();
    let known = |of: fn(&Trip) -> f64| -> ArrayRef {
        Arc::new(trips.iter().map(|trip| trip.passengers.map(|_| of(trip))).collect::<Float64Array>())
    };
    let flags: StringArray = trips.iter().map(|trip| trip.passengers.map(|_| "N")).collect();
    let mut columns = vec![
        ints(|trip| trip.vendor),
        times(|trip| trip.pickup),
        times(|trip| trip.dropoff),
        known(|trip| trip.passengers.unwrap_or_default() as f64),
        amounts(|trip| trip.distance),
        known(|_| 1.0),
        Arc::new(flags),
        ints(|trip| trip.zones.0),
        ints(|trip| trip.zones.1),
        ints(|trip| trip.payment),
        amounts(|trip| trip.fare),
        amounts(|trip| trip.extra),
        Arc::new(Float64Array::from_iter_values(trips.iter().map(|trip| 0.5 * sign(trip) as f64))),
        amounts(|trip| trip.tip),
        amounts(|trip| trip.toll),
        Arc::new(Float64Array::from_iter_values(trips.iter().map(|trip| sign(trip) as f64))),
        amounts(|t| t.fare + t.extra + 150 * t.fare.signum() + t.tip + t.toll + t.congestion + t.airport + t.fee),
        amounts(|trip| trip.congestion),
        amounts(|trip| trip.airport),
    ];
    if schema.fields().len() > columns.len() {
        columns.push(amounts(|trip| trip.fee));
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(sample: Sample, month: &str) -> RecordBatch {
        sample.file(Month::parse(month).expect("a month")).collect().await.expect("it is made")
    }

    #[tokio::test]
    async fn a_seed_is_a_file_and_columns_come_with_the_years() {
        let one = Sample { trips: 20_000, ..Sample::default() };
        let january = all(one, "2025-01").await;
        assert_eq!(january, all(one, "2025-01").await);
        assert_ne!(january, all(Sample { seed: 2, ..one }, "2025-01").await);
        assert_eq!((january.num_rows(), january.num_columns()), (20_000, 20));
        assert_eq!(all(one, "2024-12").await.num_columns(), 19);
        let missing = january["passenger_count"].null_count();
        assert!((600..1_200).contains(&missing), "{missing} without passengers");
        assert_eq!(all(Sample { trips: 0, ..one }, "2024-12").await.num_rows(), 0);
    }

    #[test]
    fn a_month_is_there_two_months_later() {
        let (now, month) =
            ("2025-02-10T06:00:00Z".parse().expect("a time"), |text| Month::parse(text).expect("a month"));
        assert!(Sample::default().has(month("2024-12"), now) && !Sample::default().has(month("2025-01"), now));
        assert!(!Sample { seed: 1, trips: 0 }.has(month("2024-12"), now));
    }
}
