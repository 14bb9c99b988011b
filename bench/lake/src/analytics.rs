//! The analytics DAG over a month of three million trips, and the lookup of the zone that contains a point.

use crate::place::folder;
use crate::{peers, taxi};
use anyhow::Result;
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::server::Server;
use orch_bench::{Bench, Figure};
use orch_dags::analytics::outlines::Index;
use orch_dags::common::nyc::zones::{Zone, zones};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

const DAG: &str = "comprehensive_analytics_pipeline";
const FIRST_DAY: &str = "2025-02-01";
const LAST_DAY: &str = "2025-02-28";
const DAYS: u32 = 28;
/// Bounding box of all zones: minimum and extent in degrees, for longitude and latitude.
const CITY: [(f64, f64); 2] = [(-74.26, 0.56), (40.49, 0.43)];

/// Measures the analytics DAG over all days of a month. The DAGs of trips and weather fill the lake from their samples
/// first.
pub(crate) fn month(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, trips) = (bench.times(3, 1), bench.times(3_000_000, 100_000));
    bench.stop()?;
    let sample = format!("sample://taxi?trips={trips}");
    let server = Server::start_with(bench.data(), &[("ORCH_CONN_NYC_TAXI", &sample)])?;
    server.succeed_at("nyc_weather_etl", Some("2025-03-01T12:00:00Z"), &json!({ "hours": 24 * DAYS + 24 }))?;
    server.succeed_at("nyc_taxi_iceberg_etl", None, &json!({ "months": [taxi::MONTH] }))?;
    server.stop()?;
    let server = Server::start_with(bench.data(), &[])?;
    forget_peak(server.pid())?;
    let mut took = vec![];
    for time in 0..=times {
        let start = Instant::now();
        server.succeed_at(DAG, None, &json!({ "reference_date": LAST_DAY, "days": DAYS }))?;
        if time > 0 {
            took.push(start.elapsed().as_secs_f64());
        }
    }
    let peak = peak_of(server.pid())?;
    server.stop()?;
    let (warehouse, written) = (bench.data().data().join("lake"), folder(bench, "analytics")?);
    let [warehouse, written] = [warehouse, written].map(|path| path.display().to_string());
    peers::run_peer("analytics", &[&written, &warehouse, FIRST_DAY, LAST_DAY])?;
    Ok(vec![
        Figure::median("analytics3m_s", &took).with("rows", trips),
        Figure::new("analytics3m_rss_mb", peak, times + 1).with("rows", trips),
    ])
}

/// Measures lookups of points spread evenly over the city, in one thread.
pub(crate) fn points(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, count) = (bench.times(5, 2), bench.times(5_000_000, 500_000));
    let zones = zones()?;
    let index = Index::of(zones.iter().filter_map(|zone| Some((zone.location_id, zone.outline.as_deref()?))))?;
    let mut state = 7_u64;
    let mut part = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let points: Vec<_> = (0..count).map(|_| (CITY[0].0 + part() * CITY[0].1, CITY[1].0 + part() * CITY[1].1)).collect();
    let (mut rates, mut found) = (vec![], 0);
    for time in 0..=times {
        let start = Instant::now();
        found = points.iter().filter(|point| index.zone(**point).is_some()).count();
        if time > 0 {
            rates.push(count as f64 / start.elapsed().as_secs_f64());
        }
    }
    if peers::are_asked() {
        let folder = folder(bench, "points")?;
        let file = folder.join("points.csv");
        write_points(&folder.join("zones.csv"), &zones, &file, &points[..count / 5])?;
        peers::run_peer("points", &[&folder.display().to_string(), &file.display().to_string()])?;
    }
    let share = found as f64 / count as f64;
    Ok(vec![Figure::median("zone_points_per_s", &rates).with("rows", count).with("in_a_zone", share)])
}

/// Writes zones and points as CSV for the peers.
fn write_points(outlines: &Path, zones: &[Zone], file: &Path, points: &[(f64, f64)]) -> Result<()> {
    let mut outlines = BufWriter::new(File::create(outlines)?);
    writeln!(outlines, "id,outline")?;
    for zone in zones {
        if let Some(outline) = &zone.outline {
            writeln!(outlines, "{},\"{}\"", zone.location_id, outline.replace('"', "\"\""))?;
        }
    }
    let mut file = BufWriter::new(File::create(file)?);
    writeln!(file, "longitude,latitude")?;
    for (longitude, latitude) in points {
        writeln!(file, "{longitude},{latitude}")?;
    }
    Ok(())
}
