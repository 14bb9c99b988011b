//! Forecasts the trips that start in each zone and each borough in each of the next 168 hours.

pub use crate::common::nyc::forecast::{DEMAND, ZoneHour};

use super::known::DemandHistory;
use super::models::KIND;
use crate::common::nyc::days::HOUR;
use crate::common::nyc::table::{DailyTable, row};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform::Identity;
use orch_forecast::calendar::WEEK;
use orch_forecast::demand::{Borough, Expected, LEAST_TRIPS, Model, seasonal_naive};
use orch_forecast::zones::Shares;
use orch_lake::TableSpec;
use std::collections::BTreeMap;

/// Weeks of history that determine a zone's share of the trips in its borough.
const SHARE_WEEKS: i64 = 8;
/// Model name of forecasts that repeat the week before.
const NAIVE: &str = "seasonal_naive";
/// Version of forecasts without a model.
const NO_VERSION: &str = "-";

row! {
    /// The forecast for a borough in one hour.
    pub BoroughHour {
        reference_date: NaiveDate, borough: String, prediction_hour: NaiveDateTime, hours_ahead: i32, predicted_demand: f64,
        lower: Option<f64>, upper: Option<f64>, lower_99: Option<f64>, upper_99: Option<f64>, expected_error: Option<f64>,
        model: String, model_version: String, created_at: DateTime<Utc>,
    }
}

pub static BOROUGHS: DailyTable = DailyTable {
    spec: TableSpec::new(
        "ml",
        "borough_forecast",
        &["reference_date", "borough", "prediction_hour"],
        BoroughHour::COLUMNS,
    )
    .partition(&[("reference_date", Identity)])
    .chart(
        "select prediction_hour, sum(predicted_demand) as trips from ml.borough_forecast where reference_date = \
         (select max(reference_date) from ml.borough_forecast) group by 1 order by 1",
    ),
    day: "reference_date",
    rules: |contract| {
        contract.rules([
            ("horizon", "hours_ahead BETWEEN 1 AND 168"),
            ("demand", "predicted_demand >= 0"),
            ("lower bound", "lower >= 0"),
            ("lower bound of 99 %", "lower_99 >= 0"),
        ])
    },
};

/// Version of a model, and the model that computes the forecasts.
type Used = (String, Model);

/// Returns the model of a borough, or `None` if the week before was a better forecast. Boroughs with few trips always
/// use their model.
fn good_model<'a>(model: &'a Model, borough: &str) -> Option<&'a Borough> {
    model.boroughs.get(borough).filter(|of| of.judged.mean < LEAST_TRIPS || of.judged.is_good())
}

/// Forecasts for a borough and its zones. `None` in hours for which the week before is not known.
struct Outlook {
    model: &'static str,
    version: String,
    /// Mean error on the held-out weeks.
    error: Option<f64>,
    whole: Vec<Option<Expected>>,
    /// Forecast hours of each zone.
    parts: Vec<Vec<Option<Expected>>>,
}

impl Outlook {
    fn of(known: &DemandHistory, used: Option<&Used>, borough: &str, zones: &[usize]) -> Outlook {
        let origin = known.days.hours().end;
        let series = known.series(zones);
        let fitted = used.and_then(|(version, model)| {
            Some((version, good_model(model, borough)?, model.forecast(borough, &series, origin)?))
        });
        let Some((version, of, hours)) = fitted else {
            let parts = zones.iter().map(|zone| seasonal_naive(&known.series(&[*zone]), origin)).collect();
            let whole = seasonal_naive(&series, origin);
            return Outlook { model: NAIVE, version: NO_VERSION.into(), error: None, whole, parts };
        };
        let count = |zone: usize, hour: i64| known.grid.demand(zones[zone], hour).map(|trips| trips as f64);
        let shares = Shares::of(zones.len(), origin - SHARE_WEEKS * WEEK..origin, count);
        let part = |zone| (origin..).zip(&hours).map(|(hour, whole)| Some(whole.part(shares.at(zone, hour)))).collect();
        let parts = (0..zones.len()).map(part).collect();
        let whole = hours.iter().copied().map(Some).collect();
        Outlook { model: KIND, version: version.clone(), error: Some(of.judged.mae), whole, parts }
    }
}

/// Returns the forecasts for the 168 hours after the known days: from the model where it is good, otherwise a
/// repetition of the week before. `weather_impact` has one factor per hour.
pub fn forecast(
    known: &DemandHistory,
    used: Option<&Used>,
    weather_impact: &BTreeMap<i64, f64>,
    now: DateTime<Utc>,
) -> (Vec<ZoneHour>, Vec<BoroughHour>) {
    let (origin, reference_date) = (known.days.hours().end, known.days.last);
    let ahead = |hours: Vec<Option<Expected>>| (1..).zip(hours).filter_map(|(ahead, hour)| Some((ahead, hour?)));
    let hour_of = |ahead: i32| origin + i64::from(ahead) - 1;
    let time = |ahead| DateTime::from_timestamp_micros(hour_of(ahead) * HOUR).unwrap_or_default().naive_utc();
    let (mut of_zones, mut of_boroughs) = (Vec::new(), Vec::new());
    for (borough, zones) in known.zones_by_borough() {
        let Outlook { model, version, error, whole, parts } = Outlook::of(known, used, &borough, &zones);
        of_boroughs.extend(ahead(whole).map(|(ahead, expected)| BoroughHour {
            reference_date,
            borough: borough.clone(),
            prediction_hour: time(ahead),
            hours_ahead: ahead,
            predicted_demand: expected.mean,
            lower: expected.of_80().map(|interval| interval.lower),
            upper: expected.of_80().map(|interval| interval.upper),
            lower_99: expected.of_99().map(|interval| interval.lower),
            upper_99: expected.of_99().map(|interval| interval.upper),
            expected_error: error,
            model: model.into(),
            model_version: version.clone(),
            created_at: now,
        }));
        for (zone, part) in zones.into_iter().zip(parts) {
            let listed = &known.zones[zone];
            of_zones.extend(ahead(part).map(|(ahead, expected)| ZoneHour {
                reference_date,
                location_id: listed.location_id,
                zone_name: listed.zone.clone(),
                borough: listed.borough.clone(),
                prediction_hour: time(ahead),
                hours_ahead: ahead,
                predicted_demand: expected.mean,
                lower: expected.of_80().map(|interval| interval.lower),
                upper: expected.of_80().map(|interval| interval.upper),
                confidence_score: expected.confidence(),
                weather_impact_factor: weather_impact.get(&hour_of(ahead)).copied().unwrap_or(1.0),
                historical_avg: usual(known, zone, hour_of(ahead)),
                model: model.into(),
                model_version: version.clone(),
                created_at: now,
            }));
        }
    }
    (of_zones, of_boroughs)
}

/// Returns the mean of the same hour of the week in the last four weeks.
fn usual(known: &DemandHistory, zone: usize, hour: i64) -> Option<f64> {
    let counts: Vec<i64> = (1..=4).filter_map(|week| known.grid.demand(zone, hour - week * WEEK)).collect();
    (!counts.is_empty()).then(|| counts.iter().sum::<i64>() as f64 / counts.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::days::Days;
    use crate::common::nyc::grid::Grid;
    use crate::common::nyc::sources::Zone;
    use crate::taxi::forecast::known::Snapshots;
    use orch_forecast::demand::{Judged, Plan};

    /// Builds two zones of Queens with more trips by day, most of them in the second zone, and a repeating
    /// pseudo-random part.
    fn known(days: i64) -> DemandHistory {
        let days = Days::until("2019-10-06".parse().expect("a day"), days);
        let zone = |location_id| Zone { location_id, borough: "Queens".into(), zone: "Zone".into(), geometry: None };
        let (zones, mut grid) = (vec![zone(1), zone(2)], Grid::new(days, 2));
        let first = days.hours().start;
        for hour in days.hours() {
            let chance = (hour - first) * 7_919 % 1_009 * 31 % 4;
            for trip in 0..(hour % 24 / 4) + chance {
                grid.add(Some(usize::from(trip > 0)), hour, 1);
            }
        }
        DemandHistory { zones, grid, days, snapshots: Snapshots::new() }
    }

    #[test]
    fn the_zones_of_a_borough_are_its_parts_and_a_bad_model_is_not_used() {
        let known = known(7 * 40);
        let hours = known.days.hours();
        let plan = Plan { first: hours.start, end: hours.end, held_out_weeks: 4, calibration_weeks: 4 };
        let mut used = ("v".to_owned(), Model::fit(&known.boroughs(), plan).expect("a model"));
        let forecast = |used: Option<&Used>| forecast(&known, used, &BTreeMap::new(), DateTime::UNIX_EPOCH);
        let (zones, boroughs) = forecast(Some(&used));
        assert_eq!((zones.len(), boroughs.len()), (2 * 168, 168));
        for whole in &boroughs {
            let parts = zones.iter().filter(|of| of.hours_ahead == whole.hours_ahead).map(|of| of.predicted_demand);
            assert!((parts.sum::<f64>() - whole.predicted_demand).abs() < 1e-9, "{whole:?}");
        }
        let first = &zones[0];
        assert_eq!((first.prediction_hour.to_string().as_str(), first.model.as_str()), ("2019-10-07 00:00:00", KIND));
        assert!(first.lower < Some(first.predicted_demand) && first.confidence_score.is_some_and(|score| score <= 1.0));
        let borough = used.1.boroughs.get_mut("Queens").expect("a borough");
        borough.judged = Judged { mae: 2.0, naive_mae: 1.0, ..borough.judged };
        for used in [Some(&used), None] {
            let (zones, boroughs) = forecast(used);
            assert!(zones.iter().all(|of| of.model == NAIVE) && boroughs.iter().all(|of| of.expected_error.is_none()));
            let week_ago = known.grid.demand(0, hours.end + 9 - WEEK).map(|trips| trips as f64);
            assert_eq!(zones.iter().find(|of| of.hours_ahead == 10).map(|of| of.predicted_demand), week_ago);
        }
    }

    #[test]
    fn hours_without_a_known_week_before_have_no_rows() {
        let (zones, boroughs) = forecast(&known(3), None, &BTreeMap::new(), DateTime::UNIX_EPOCH);
        assert_eq!((zones.len(), boroughs.len()), (2 * 72, 72));
        assert!(zones.iter().all(|of| of.lower.is_none() && of.historical_avg.is_some()));
        assert!(boroughs.iter().all(|of| of.hours_ahead > 96));
    }
}
