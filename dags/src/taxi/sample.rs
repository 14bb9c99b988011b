//! Generated trips in the format of the city's files, for machines without a network (`sample://taxi`).
//!
//! The files have the names, types and defects of the city's files: passenger counts that are null or doubles, missing
//! distances, negative fares, a trip of the previous month, a column that starts in 2025. The same seed generates the
//! same file.

use crate::common::connections::number;
use crate::common::dice::Dice;
use crate::common::nyc::month::Month;
use chrono::{DateTime, Utc};
use orch::{Connection, TaskResult};
use orch_lake::batches::{BATCH_ROWS, Batches};
use orch_lake::frame::batches_of;
use polars::prelude::{Column, DataFrame, DataType, TimeUnit, df};

const MAX_TRIPS: u64 = 100_000_000;
const SECOND: i64 = 1_000_000;
/// First month with the congestion fee.
const FEE_SINCE: &str = "2025-01";
/// Relative number of trips in each hour of the day.
const HOURS: [u32; 24] = [25, 17, 11, 7, 5, 6, 15, 27, 36, 40, 42, 45, 49, 51, 56, 58, 58, 65, 71, 66, 60, 59, 55, 41];
const UNKNOWN: i64 = -1;
const PASSENGERS: [(i64, u32); 8] = [(1, 720), (2, 140), (3, 35), (4, 20), (5, 20), (6, 10), (0, 10), (UNKNOWN, 45)];
const PAYMENTS: [(i64, u32); 4] = [(1, 76), (2, 22), (3, 1), (4, 1)];
/// Zones where most trips start or end.
const BUSY: [i64; 16] = [237, 161, 236, 132, 162, 142, 186, 230, 138, 170, 239, 163, 234, 68, 79, 48];
const LAST_ZONE: u32 = 263;

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

struct Trip {
    vendor: i64,
    pickup: i64,
    dropoff: i64,
    passengers: Option<i64>,
    /// Distance in hundredths of a mile; all amounts are in cents.
    distance: i64,
    zones: (i64, i64),
    payment: i64,
    fare: i64,
    extra: i64,
    tip: i64,
    toll: i64,
    airport: i64,
}

impl Sample {
    /// Parses a connection such as `sample://taxi?trips=6000&seed=7`.
    pub(super) fn of(connection: &Connection) -> TaskResult<Sample> {
        let default = Sample::default();
        let trips = number(connection, "trips", default.trips, 0..=MAX_TRIPS)?;
        Ok(Sample { seed: number(connection, "seed", default.seed, 0..=u64::MAX)?, trips })
    }

    /// Returns true if the file of a month is published.
    pub(super) fn has(&self, month: Month, now: DateTime<Utc>) -> bool {
        self.trips > 0 && month <= Month::newest_sample(now)
    }

    /// Returns the rows of a file, generated on demand.
    pub fn file(&self, month: Month) -> TaskResult<Batches> {
        let with_fee = month.to_string().as_str() >= FEE_SINCE;
        let (schema, _) = batches_of(table(&[], with_fee)?)?;
        let (total, mut dice) = (self.trips, Dice::new(self.seed, &format!("taxi {month}")));
        let starts = (0..total).step_by(BATCH_ROWS);
        let batches = starts.map(move |start| {
            let numbers = start..total.min(start + BATCH_ROWS as u64);
            let trips: Vec<Trip> = numbers.map(|number| trip(&mut dice, month, number, total)).collect();
            Ok(batches_of(table(&trips, with_fee)?)?.1)
        });
        Ok(Batches::made(schema, batches))
    }
}

fn trip(dice: &mut Dice, month: Month, number: u64, total: u64) -> Trip {
    let (first, end) = month.micros();
    let days = (end - first) / (86_400 * SECOND);
    // Trips are roughly ordered by day, as in the city's files.
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
    let passengers = Some(dice.weighted(&PASSENGERS, |(_, weight)| *weight).0).filter(|known| *known != UNKNOWN);
    let payment = if passengers.is_none() { 0 } else { dice.weighted(&PAYMENTS, |(_, weight)| *weight).0 };
    let fare = 300 + (distance * 250 / 100 + seconds) / 10 * 10;
    let tip = if payment == 1 { fare * i64::from(dice.between(10, 30)) / 100 } else { 0 };
    // A negative fare is a refund.
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
        airport: if dice.below(12) == 0 { 175 * sign } else { 0 },
    }
}

/// Returns trips with the column names and types of the city's files.
fn table(trips: &[Trip], with_fee: bool) -> TaskResult<DataFrame> {
    type Number = fn(&Trip) -> i64;
    let ints = |of: Number| trips.iter().map(of).collect::<Vec<i64>>();
    let dollars = |of: Number| trips.iter().map(|trip| of(trip) as f64 / 100.0).collect::<Vec<f64>>();
    let known = |of: fn(i64) -> f64| trips.iter().map(|trip| trip.passengers.map(of)).collect::<Vec<Option<f64>>>();
    let flags: Vec<Option<&str>> = trips.iter().map(|trip| trip.passengers.map(|_| "N")).collect();
    let fee: Number = if with_fee { |t| 75 * t.fare.signum() } else { |_| 0 };
    let total = |t: &Trip| t.fare + t.extra + 400 * t.fare.signum() + t.tip + t.toll + t.airport + fee(t);
    let totals: Vec<f64> = trips.iter().map(|trip| total(trip) as f64 / 100.0).collect();
    let mut table = df! {
        "VendorID" => ints(|t| t.vendor),
        "tpep_pickup_datetime" => ints(|t| t.pickup), "tpep_dropoff_datetime" => ints(|t| t.dropoff),
        "passenger_count" => known(|passengers| passengers as f64), "trip_distance" => dollars(|t| t.distance),
        "RatecodeID" => known(|_| 1.0), "store_and_fwd_flag" => flags,
        "PULocationID" => ints(|t| t.zones.0), "DOLocationID" => ints(|t| t.zones.1),
        "payment_type" => ints(|t| t.payment), "fare_amount" => dollars(|t| t.fare),
        "extra" => dollars(|t| t.extra), "mta_tax" => dollars(|t| 50 * t.fare.signum()),
        "tip_amount" => dollars(|t| t.tip), "tolls_amount" => dollars(|t| t.toll),
        "improvement_surcharge" => dollars(|t| 100 * t.fare.signum()), "total_amount" => totals,
        "congestion_surcharge" => dollars(|t| 250 * t.fare.signum()), "Airport_fee" => dollars(|t| t.airport),
    }?;
    if with_fee {
        table.with_column(Column::new("cbd_congestion_fee".into(), dollars(fee)))?;
    }
    for name in ["tpep_pickup_datetime", "tpep_dropoff_datetime"] {
        let times = table.column(name)?.cast(&DataType::Datetime(TimeUnit::Microseconds, None))?;
        table.with_column(times)?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::RecordBatch;

    async fn all(sample: Sample, month: &str) -> RecordBatch {
        let file = sample.file(Month::parse(month).expect("a month")).expect("a schema");
        file.collect().await.expect("rows")
    }

    #[tokio::test]
    async fn a_seed_generates_a_file_and_later_months_have_more_columns() {
        let one = Sample { trips: 20_000, ..Sample::default() };
        let january = all(one, "2025-01").await;
        assert_eq!(january, all(one, "2025-01").await);
        assert_ne!(january, all(Sample { seed: 2, ..one }, "2025-01").await);
        assert_eq!((january.num_rows(), january.num_columns()), (20_000, 20));
        assert_eq!(all(Sample { trips: 0, ..one }, "2024-12").await.num_columns(), 19);
        let missing = january["passenger_count"].null_count();
        assert!((600..1_200).contains(&missing), "{missing} without passengers");
        let (now, month) = ("2025-02-10T06:00:00Z".parse().expect("a time"), Month::parse("2024-12").expect("a month"));
        assert!(one.has(month, now) && !one.has(month.next(), now) && !Sample { trips: 0, ..one }.has(month, now));
    }
}
