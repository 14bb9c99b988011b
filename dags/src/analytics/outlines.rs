//! The taxi zone of a point. Outlines are rings of longitudes and latitudes (WGS 84 degrees).
//!
//! A grid of squares makes lookups fast: a square inside one zone, or outside all, has its result stored. Only in squares that
//! outlines cross, the edges of these outlines are tested. A point on an edge belongs to one of its sides.

use orch::{TaskResult, fatal};
use serde_json::Value;
use std::collections::HashMap;

/// Squares per degree. They are at most 280 m wide, less than a zone.
const SQUARES_A_DEGREE: f64 = 400.0;
/// Maximum size of the city, which limits the grid to 4 million squares.
const MAX_DEGREES: f64 = 5.0;

/// Longitude and latitude.
pub type GeoPoint = (f64, f64);

#[derive(Debug)]
pub struct Outlines {
    zones: Vec<Outline>,
    west: f64,
    south: f64,
    columns: usize,
    rows: usize,
    squares: Vec<Square>,
}

#[derive(Debug)]
struct Outline {
    id: i32,
    rings: Vec<Vec<GeoPoint>>,
    /// The edges that touch each row of squares, from `first_row` on. A ray along a row crosses no other edges.
    first_row: usize,
    by_row: Vec<Vec<(GeoPoint, GeoPoint)>>,
}

/// The result for a square. Zones are offsets in the list.
#[derive(Debug, Clone, Copy)]
enum Square {
    Outside,
    Within(u16),
    /// Offset and number of the candidates in `Index::crossed`.
    Crossed(u32, u16),
}

/// A lookup from points to zones.
#[derive(Debug)]
pub struct Index {
    outlines: Outlines,
    crossed: Vec<u16>,
}

impl Index {
    /// Reads `GeoJSON` geometries by zone. If outlines overlap, the first zone has the point.
    ///
    /// # Errors
    /// Returns a fatal error if an outline cannot be read, or none is passed.
    pub fn of<'a>(outlines: impl IntoIterator<Item = (i32, &'a str)>) -> TaskResult<Index> {
        let read = |(id, text)| {
            let rings = rings(text).ok_or_else(|| fatal(format!("the outline of zone {id} cannot be read")))?;
            Ok((id, rings))
        };
        Index::over(outlines.into_iter().map(read).collect::<TaskResult<_>>()?)
    }

    fn over(zones: Vec<(i32, Vec<Vec<GeoPoint>>)>) -> TaskResult<Index> {
        let points = || zones.iter().flat_map(|(_, rings)| rings.iter().flatten());
        let west = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let south = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let east = points().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
        let north = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let fits = |degrees: f64| degrees.is_finite() && degrees < MAX_DEGREES;
        if !fits(east - west) || !fits(north - south) || u16::try_from(zones.len()).is_err() {
            return Err(fatal("the zones have no outlines of one city\nhint: run `nyc_weather_etl`, which loads them"));
        }
        let count = |degrees: f64| (degrees * SQUARES_A_DEGREE) as usize + 1;
        let (columns, rows) = (count(east - west), count(north - south));
        let squares = vec![Square::Outside; columns * rows];
        let zones = zones.into_iter().map(|(id, rings)| Outline::of(id, rings, south)).collect();
        let mut outlines = Outlines { zones, west, south, columns, rows, squares };
        let mut crossing = outlines.crossing();
        let mut crossed = Vec::new();
        for at in 0..columns * rows {
            let middle = outlines.middle(at);
            outlines.squares[at] = match crossing.remove(&at) {
                None => outlines.among(middle, 0..outlines.zones.len()).map_or(Square::Outside, Square::Within),
                Some(mut zones) => {
                    // The zone at the center of the square may contain the rest of it.
                    zones.extend(outlines.among(middle, 0..outlines.zones.len()));
                    zones.sort_unstable();
                    zones.dedup();
                    let first = crossed.len() as u32;
                    crossed.extend_from_slice(&zones);
                    Square::Crossed(first, zones.len() as u16)
                }
            };
        }
        Ok(Index { outlines, crossed })
    }

    /// Returns the number of the zone that contains a point.
    pub fn zone(&self, point: GeoPoint) -> Option<i32> {
        let of = &self.outlines;
        let found = match of.squares[of.square(point)?] {
            Square::Outside => None,
            Square::Within(zone) => Some(zone),
            Square::Crossed(first, count) => {
                let zones = &self.crossed[first as usize..first as usize + usize::from(count)];
                of.among(point, zones.iter().map(|zone| usize::from(*zone)))
            }
        };
        found.map(|zone| of.zones[usize::from(zone)].id)
    }
}

impl Outlines {
    fn square(&self, (longitude, latitude): GeoPoint) -> Option<usize> {
        if !(longitude >= self.west && latitude >= self.south) {
            return None;
        }
        let (x, y) = (square(longitude, self.west), square(latitude, self.south));
        (x < self.columns && y < self.rows).then_some(y * self.columns + x)
    }

    fn middle(&self, square: usize) -> GeoPoint {
        let part = |at: usize| (at as f64 + 0.5) / SQUARES_A_DEGREE;
        (self.west + part(square % self.columns), self.south + part(square / self.columns))
    }

    /// Returns the first of some zones that contains a point.
    fn among(&self, point: GeoPoint, mut zones: impl Iterator<Item = usize>) -> Option<u16> {
        let row = square(point.1, self.south);
        zones.find(|zone| self.zones[*zone].has(point, row)).and_then(|zone| u16::try_from(zone).ok())
    }

    /// Returns the zones with an edge whose bounding box touches a square, by square.
    fn crossing(&self) -> HashMap<usize, Vec<u16>> {
        let mut crossing: HashMap<usize, Vec<u16>> = HashMap::new();
        for (zone, outline) in self.zones.iter().enumerate() {
            for (one, other) in outline.lines() {
                let corners = [(one.0.min(other.0), one.1.min(other.1)), (one.0.max(other.0), one.1.max(other.1))];
                let [Some(first), Some(last)] = corners.map(|corner| self.square(corner)) else { continue };
                for y in first / self.columns..=last / self.columns {
                    for x in first % self.columns..=last % self.columns {
                        let zones = crossing.entry(y * self.columns + x).or_default();
                        if zones.last() != Some(&(zone as u16)) {
                            zones.push(zone as u16);
                        }
                    }
                }
            }
        }
        crossing
    }
}

/// Returns the offset of the square in a row or column.
fn square(at: f64, first: f64) -> usize {
    ((at - first) * SQUARES_A_DEGREE) as usize
}

impl Outline {
    fn of(id: i32, rings: Vec<Vec<GeoPoint>>, south: f64) -> Outline {
        let rows = |line: &(GeoPoint, GeoPoint)| {
            (square(line.0.1.min(line.1.1), south), square(line.0.1.max(line.1.1), south))
        };
        let mut outline = Outline { id, rings, first_row: usize::MAX, by_row: Vec::new() };
        let lines: Vec<_> = outline.lines().collect();
        outline.first_row = lines.iter().map(|line| rows(line).0).min().unwrap_or_default();
        let end = lines.iter().map(|line| rows(line).1 + 1).max().unwrap_or_default();
        outline.by_row = vec![Vec::new(); end - outline.first_row];
        for line in lines {
            let (first, last) = rows(&line);
            (first..=last).for_each(|row| outline.by_row[row - outline.first_row].push(line));
        }
        outline
    }

    /// Returns the edges. The last point of a ring repeats its first.
    fn lines(&self) -> impl Iterator<Item = (GeoPoint, GeoPoint)> {
        self.rings.iter().flat_map(|ring| ring.windows(2).map(|line| (line[0], line[1])))
    }

    /// Returns true if the outline contains a point in a row of squares.
    fn has(&self, point: GeoPoint, row: usize) -> bool {
        let lines = row.checked_sub(self.first_row).and_then(|row| self.by_row.get(row));
        lines.is_some_and(|lines| is_within(point, lines.iter().copied()))
    }
}

/// A ray to the east from a point inside crosses an odd number of edges. This covers islands and holes.
fn is_within((x, y): GeoPoint, lines: impl Iterator<Item = (GeoPoint, GeoPoint)>) -> bool {
    let crosses = |(one, other): (GeoPoint, GeoPoint)| {
        (one.1 > y) != (other.1 > y) && x < (other.0 - one.0) * (y - one.1) / (other.1 - one.1) + one.0
    };
    lines.filter(|line| crosses(*line)).count() % 2 == 1
}

/// Parses the rings of a `GeoJSON` `Polygon` or `MultiPolygon`.
fn rings(text: &str) -> Option<Vec<Vec<GeoPoint>>> {
    let geometry: Value = serde_json::from_str(text).ok()?;
    let coordinates = geometry["coordinates"].as_array()?;
    let polygons: Vec<&Value> = match geometry["type"].as_str()? {
        "Polygon" => vec![&geometry["coordinates"]],
        "MultiPolygon" => coordinates.iter().collect(),
        _ => return None,
    };
    let ring = |ring: &Value| {
        let mut points: Vec<GeoPoint> = ring
            .as_array()?
            .iter()
            .map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)))
            .collect::<Option<_>>()?;
        if points.first() != points.last() {
            points.push(*points.first()?);
        }
        Some(points)
    };
    let all = polygons.into_iter().map(Value::as_array).collect::<Option<Vec<_>>>()?;
    all.into_iter().flatten().map(ring).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::zones;

    fn city() -> (Vec<zones::Zone>, Index) {
        let zones = zones::zones().expect("the binary contains them");
        let outlined = zones.iter().filter_map(|zone| Some((zone.location_id, zone.outline.as_deref()?)));
        let index = Index::of(outlined).expect("outlines");
        (zones, index)
    }

    #[test]
    fn the_grid_agrees_with_a_test_of_all_edges() {
        let (_, index) = city();
        let by_lines = |point: GeoPoint| {
            index.outlines.zones.iter().find(|zone| is_within(point, zone.lines())).map(|zone| zone.id)
        };
        // A generator with a fixed seed.
        let mut state = 7_u64;
        let mut part = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut inside = 0;
        for _ in 0..4_000 {
            let point = (-74.3 + part() * 0.65, 40.47 + part() * 0.47);
            assert_eq!(index.zone(point), by_lines(point), "{point:?}");
            inside += usize::from(index.zone(point).is_some());
        }
        assert!((500..3_500).contains(&inside), "{inside}");
        // Corners of the outlines, where squares and edges meet.
        for point in index.outlines.zones.iter().flat_map(|zone| zone.rings.iter().flatten().step_by(40)) {
            assert_eq!(index.zone(*point), by_lines(*point), "{point:?}");
        }
    }

    #[test]
    fn landmarks_are_in_their_zones() {
        let (zones, index) = city();
        let named = |point| {
            let id = index.zone(point)?;
            zones.iter().find(|zone| zone.location_id == id).map(|zone| zone.zone.clone())
        };
        assert_eq!(named((-73.7781, 40.6413)).as_deref(), Some("JFK Airport"));
        assert_eq!(named((-73.9855, 40.7580)).as_deref(), Some("Times Sq/Theatre District"));
        assert_eq!(named((-73.9654, 40.7829)).as_deref(), Some("Central Park"));
        for nowhere in [(0.0, 0.0), (f64::NAN, 40.7), (-74.1, 40.4), (40.7580, -73.9855)] {
            assert_eq!(named(nowhere), None, "{nowhere:?}");
        }
    }

    #[test]
    fn holes_are_outside_and_islands_inside() {
        let square = |from: f64, to: f64| format!("[[{from},{from}],[{to},{from}],[{to},{to}],[{from},{to}]]");
        let text = format!(
            r#"{{"type":"MultiPolygon","coordinates":[[{},{}],[{}]]}}"#,
            square(0.0, 0.9),
            square(0.3, 0.6),
            square(0.4, 0.5)
        );
        let index = Index::over(vec![(9, rings(&text).expect("rings"))]).expect("an index");
        let zones = [0.1, 0.35, 0.45, 0.7, 0.95].map(|at| index.zone((at, at)));
        assert_eq!(zones, [Some(9), None, Some(9), Some(9), None]);
        assert!(rings("{}").is_none() && Index::over(Vec::new()).is_err());
    }
}
