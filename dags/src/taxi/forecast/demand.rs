//! The rows of a forecast: how many trips will begin in each zone, and in each borough, in each of the next 168 hours.

use super::known::DemandHistory;
use crate::common::nyc::grid::HOUR;
use crate::common::nyc::sources::weather_impact;
use crate::common::nyc::sources::{Hours, Zone};
use crate::common::nyc::table::{Table, clock, computed, date, int, maybe_number, number, text};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use iceberg::spec::Transform::Identity;
use orch_forecast::calendar::WEEK;
use orch_forecast::demand::{Borough, Expected, LEAST_TRIPS, Model, seasonal_naive};
use orch_forecast::interval::Interval;
use orch_forecast::zones::Shares;
use std::sync::Arc;

/// So much of the past tells which part of a borough's trips begins in a zone.
const SHARE_WEEKS: i64 = 8;
/// A forecast that comes from no model.
const NAIVE: &str = "seasonal_naive";
/// The version of what has none.
const NO_VERSION: &str = "-";

/// What a forecast was made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    pub model: &'static str,
    pub version: Arc<str>,
}

/// A zone in an hour to come.
#[derive(Debug)]
pub struct ZoneHour {
    reference: NaiveDate,
    zone: Arc<Zone>,
    at: NaiveDateTime,
    ahead: i32,
    by: By,
    expected: Expected,
    weather: f64,
    usual: Option<f64>,
}

pub static DEMAND: Table<ZoneHour> = Table {
    namespace: "ml",
    name: "demand_forecast",
    key: &["reference_date", "location_id", "prediction_hour"],
    partition: &[("reference_date", Identity)],
    day: "reference_date",
    columns: &[
        date("reference_date", |of| of.reference),
        int("location_id", |of| of.zone.id),
        text("zone_name", |of| &of.zone.name),
        text("borough", |of| &of.zone.borough),
        clock("prediction_hour", |of| of.at),
        int("hours_ahead", |of| of.ahead),
        number("predicted_demand", |of| of.expected.mean),
        maybe_number("lower", |of| of.expected.of_80().map(|interval| interval.lower)),
        maybe_number("upper", |of| of.expected.of_80().map(|interval| interval.upper)),
        maybe_number("confidence_score", |of| of.expected.confidence()),
        number("weather_impact_factor", |of| of.weather),
        maybe_number("historical_avg", |of| of.usual),
        text("model", |of| of.by.model),
        text("model_version", |of| &of.by.version),
        computed("created_at"),
    ],
    chart: "select prediction_hour, sum(predicted_demand) as trips from ml.demand_forecast where reference_date = \
            (select max(reference_date) from ml.demand_forecast) group by 1 order by 1",
};

/// A borough in an hour to come.
#[derive(Debug)]
pub struct BoroughHour {
    reference: NaiveDate,
    borough: Arc<str>,
    at: NaiveDateTime,
    ahead: i32,
    by: By,
    expected: Expected,
    /// The mean error of the model on the weeks that were held out.
    error: Option<f64>,
}

impl BoroughHour {
    fn end(&self, of: fn(Interval) -> f64) -> Option<f64> {
        self.expected.of_99().map(of)
    }
}

pub static BOROUGHS: Table<BoroughHour> = Table {
    namespace: "ml",
    name: "borough_forecast",
    key: &["reference_date", "borough", "prediction_hour"],
    partition: &[("reference_date", Identity)],
    day: "reference_date",
    columns: &[
        date("reference_date", |of| of.reference),
        text("borough", |of| &of.borough),
        clock("prediction_hour", |of| of.at),
        int("hours_ahead", |of| of.ahead),
        number("predicted_demand", |of| of.expected.mean),
        maybe_number("lower", |of| of.expected.of_80().map(|interval| interval.lower)),
        maybe_number("upper", |of| of.expected.of_80().map(|interval| interval.upper)),
        maybe_number("lower_99", |of| of.end(|interval| interval.lower)),
        maybe_number("upper_99", |of| of.end(|interval| interval.upper)),
        maybe_number("expected_error", |of| of.error),
        text("model", |of| of.by.model),
        text("model_version", |of| &of.by.version),
        computed("created_at"),
    ],
    chart: "select prediction_hour, sum(predicted_demand) as trips from ml.borough_forecast where reference_date = \
            (select max(reference_date) from ml.borough_forecast) group by 1 order by 1",
};

/// A model that is used.
#[derive(Debug)]
pub struct Used {
    pub version: Arc<str>,
    pub model: Model,
}

impl Used {
    /// The model of a borough, unless a week before was better there. One with few trips is not judged by itself.
    fn of(&self, borough: &str) -> Option<&Borough> {
        self.model.boroughs.get(borough).filter(|of| of.judged.mean < LEAST_TRIPS || of.judged.is_good())
    }
}

/// The 168 hours after what is known, by the model where it is good, else as a week before. An hour of which the week before
/// is not known either has no row.
pub fn forecast(known: &DemandHistory, used: Option<&Used>, weather: &Hours) -> (Vec<ZoneHour>, Vec<BoroughHour>) {
    let (_, origin) = known.hours();
    let reference = known.days.last;
    let at = |ahead: i32| {
        let micros = (origin + i64::from(ahead) - 1) * HOUR;
        DateTime::from_timestamp_micros(micros).unwrap_or_default().naive_utc()
    };
    let (mut of_zones, mut of_boroughs) = (Vec::new(), Vec::new());
    for (name, zones) in known.zones_by_borough() {
        let series = known.series(&zones);
        let fitted = used.and_then(|used| Some((used, used.of(&name)?, used.model.forecast(&name, &series, origin)?)));
        let naive = || By { model: NAIVE, version: NO_VERSION.into() };
        let borough: Arc<str> = name.into();
        let count = |at: usize, hour: i64| known.grid.demand(zones[at], hour).map(|trips| trips as f64);
        let (by, error, whole, parts) = match fitted {
            Some((used, of, hours)) => {
                let shares = Shares::of(zones.len(), origin - SHARE_WEEKS * WEEK..origin, count);
                let part = |zone: usize| {
                    let of_hour = |(hour, whole): (i64, &Expected)| Some(whole.part(shares.at(zone, hour)));
                    (origin..).zip(&hours).map(of_hour).collect::<Vec<_>>()
                };
                let parts: Vec<_> = (0..zones.len()).map(part).collect();
                let by = By { model: super::models::KIND, version: used.version.clone() };
                (by, Some(of.judged.mae), hours.into_iter().map(Some).collect(), parts)
            }
            None => {
                let parts = zones.iter().map(|zone| seasonal_naive(&known.series(&[*zone]), origin)).collect();
                (naive(), None, seasonal_naive(&series, origin), parts)
            }
        };
        for (ahead, expected) in (1..).zip(whole) {
            let Some(expected) = expected else { continue };
            let (borough, by) = (borough.clone(), by.clone());
            of_boroughs.push(BoroughHour { reference, borough, at: at(ahead), ahead, by, expected, error });
        }
        for (place, part) in zones.iter().zip(parts) {
            for (ahead, expected) in (1..).zip(part) {
                let Some(expected) = expected else { continue };
                let hour = origin + i64::from(ahead) - 1;
                of_zones.push(ZoneHour {
                    reference,
                    zone: known.zones.all()[*place].clone(),
                    at: at(ahead),
                    ahead,
                    by: by.clone(),
                    expected,
                    weather: weather_impact(weather.get(&hour).map(AsRef::as_ref)),
                    usual: usual(known, *place, hour),
                });
            }
        }
    }
    (of_zones, of_boroughs)
}

/// The mean of the same hour of the last four weeks.
fn usual(known: &DemandHistory, zone: usize, hour: i64) -> Option<f64> {
    let counts: Vec<i64> = (1..=4).filter_map(|week| known.grid.demand(zone, hour - week * WEEK)).collect();
    (!counts.is_empty()).then(|| counts.iter().sum::<i64>() as f64 / counts.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::days::Days;
    use crate::common::nyc::grid::Grid;
    use crate::common::nyc::sources::Zones;
    use crate::taxi::forecast::known::Snapshots;
    use crate::taxi::forecast::options::until;
    use orch_forecast::demand::{Judged, Plan};

    const DAYS: i64 = 7 * 40;

    /// Two zones of Queens: more trips by day, most of them in the second zone, and chance that comes again.
    fn known(days: Days) -> DemandHistory {
        let zones = Zones::of(vec![Zone::numbered(1), Zone::numbered(2)]);
        let mut grid = Grid::new(days, 2);
        let first = days.micros().0;
        for hour in 0..days.each().count() as i64 * 24 {
            let chance = hour * 7_919 % 1_009 * 31 % 4;
            for trip in 0..(hour % 24 / 4) + chance {
                grid.add(Some(usize::from(trip > 0)), first + hour * HOUR);
            }
        }
        DemandHistory { zones, grid, days, snapshots: Snapshots::new() }
    }

    fn used(known: &DemandHistory) -> Used {
        let (first, end) = known.hours();
        let plan = Plan { first, end, held_out_weeks: 4, calibration_weeks: 4 };
        Used { version: "v".into(), model: Model::fit(&known.boroughs(), plan).expect("a model") }
    }

    #[test]
    fn the_zones_of_a_borough_are_its_parts_and_a_bad_model_is_not_used() {
        let known = known(until("2019-10-06".parse().expect("a day"), DAYS));
        let mut used = used(&known);
        let (zones, boroughs) = forecast(&known, Some(&used), &Hours::new());
        assert_eq!((zones.len(), boroughs.len()), (2 * 168, 168));
        for (ahead, whole) in (1..).zip(&boroughs) {
            let parts: f64 = zones.iter().filter(|of| of.ahead == ahead).map(|of| of.expected.mean).sum();
            assert!((parts - whole.expected.mean).abs() < 1e-9, "{ahead}: {parts}");
        }
        let first = &zones[0];
        assert_eq!((first.at.to_string().as_str(), first.by.model), ("2019-10-07 00:00:00", "gradient_boosted_trees"));
        let (interval, confidence) = (first.expected.of_80().expect("an interval"), first.expected.confidence());
        assert!(interval.has(first.expected.mean) && confidence.is_some_and(|score| (0.0..=1.0).contains(&score)));
        let borough = used.model.boroughs.get_mut("Queens").expect("a borough");
        borough.judged = Judged { mae: 2.0, naive_mae: 1.0, ..borough.judged };
        for used in [Some(&used), None] {
            let (zones, boroughs) = forecast(&known, used, &Hours::new());
            assert!(zones.iter().all(|of| of.by.model == NAIVE) && boroughs.iter().all(|of| of.error.is_none()));
            let (_, origin) = known.hours();
            let week_ago = known.grid.demand(0, origin + 9 - WEEK).map(|trips| trips as f64);
            assert_eq!(zones.iter().find(|of| of.ahead == 10).map(|of| of.expected.mean), week_ago);
        }
    }

    #[test]
    fn of_too_little_that_is_known_there_are_fewer_rows() {
        let known = known(until("2019-10-06".parse().expect("a day"), 3));
        let (zones, boroughs) = forecast(&known, None, &Hours::new());
        // Three days of the week before, each of two zones.
        assert_eq!((zones.len(), boroughs.len()), (2 * 72, 72));
        assert!(zones.iter().all(|of| of.expected.of_80().is_none() && of.usual.is_some()));
        assert!(boroughs.iter().all(|of| of.ahead > 96));
    }
}
