//! Finds the taxi zone of a point. Outlines are rings of longitudes and latitudes (WGS 84 degrees).
//!
//! A grid of squares makes lookups fast: a square inside one zone, or outside all zones, stores its result. Edges are
//! tested only in squares that outlines cross. A point on an edge belongs to one of the two sides.

use orch::{TaskResult, fatal};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Number of squares per degree. Squares are at most 280 m wide, which is less than a zone.
const SQUARES_A_DEGREE: f64 = 400.0;
/// Maximum size of the city in degrees, which limits the grid to 4 million squares.
const MAX_DEGREES: f64 = 5.0;

/// Longitude and latitude.
pub type GeoPoint = (f64, f64);

/// A lookup from points to zones.
#[derive(Debug)]
pub struct Index {
    zones: Vec<Outline>,
    west: f64,
    south: f64,
    columns: usize,
    rows: usize,
    squares: Vec<Square>,
    /// Candidate zones of each crossed square, in order.
    crossed: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Outline {
    id: i32,
    rings: Vec<Vec<GeoPoint>>,
    /// Edges that touch each row of squares. A ray along a row crosses no other edges.
    by_row: Vec<Vec<(GeoPoint, GeoPoint)>>,
}

/// Result for a square. Zones are offsets in the list.
#[derive(Debug, Clone, Copy)]
enum Square {
    /// Zone of all points of the square. `None` outside of all zones.
    Whole(Option<u16>),
    /// Offset of the candidates in `Index::crossed`.
    Crossed(u32),
}

impl Index {
    /// Reads `GeoJSON` geometries by zone. If outlines overlap, a point belongs to the first zone.
    ///
    /// # Errors
    /// Returns a fatal error if an outline cannot be read, or if there are no outlines.
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
        let (columns, rows) = (offset(east, west) + 1, offset(north, south) + 1);
        let zones = zones.into_iter().map(|(id, rings)| Outline::of(id, rings, south)).collect();
        let mut index = Index { zones, west, south, columns, rows, squares: Vec::new(), crossed: Vec::new() };
        let mut crossing = index.crossing();
        for square in 0..columns * rows {
            let at_center = index.first_of(index.center(square), 0..index.zones.len());
            index.squares.push(match crossing.remove(&square) {
                None => Square::Whole(at_center.map(|zone| zone as u16)),
                Some(mut candidates) => {
                    // The zone at the center of the square may contain the rest of the square.
                    candidates.extend(at_center);
                    index.crossed.push(candidates.into_iter().collect());
                    Square::Crossed(index.crossed.len() as u32 - 1)
                }
            });
        }
        Ok(index)
    }

    /// Returns the number of the zone that contains a point.
    pub fn zone(&self, point: GeoPoint) -> Option<i32> {
        let zone = match self.squares[self.square(point)?] {
            Square::Whole(zone) => zone.map(usize::from),
            Square::Crossed(at) => self.first_of(point, self.crossed[at as usize].iter().copied()),
        };
        zone.map(|zone| self.zones[zone].id)
    }

    /// Returns the offset of the square that contains a point. `None` if the point is outside of the grid.
    fn square(&self, (longitude, latitude): GeoPoint) -> Option<usize> {
        if !(longitude >= self.west && latitude >= self.south) {
            return None;
        }
        let (x, y) = (offset(longitude, self.west), offset(latitude, self.south));
        (x < self.columns && y < self.rows).then_some(y * self.columns + x)
    }

    fn center(&self, square: usize) -> GeoPoint {
        let degrees = |offset: usize| (offset as f64 + 0.5) / SQUARES_A_DEGREE;
        (self.west + degrees(square % self.columns), self.south + degrees(square / self.columns))
    }

    /// Returns the first of some zones that contains a point.
    fn first_of(&self, point: GeoPoint, mut zones: impl Iterator<Item = usize>) -> Option<usize> {
        let row = offset(point.1, self.south);
        zones.find(|zone| self.zones[*zone].has(point, row))
    }

    /// Returns the zones with an edge whose bounding box touches a square, by square.
    fn crossing(&self) -> HashMap<usize, BTreeSet<usize>> {
        let mut crossing: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        for (zone, outline) in self.zones.iter().enumerate() {
            for (one, other) in outline.lines() {
                let corners = [(one.0.min(other.0), one.1.min(other.1)), (one.0.max(other.0), one.1.max(other.1))];
                let [Some(first), Some(last)] = corners.map(|corner| self.square(corner)) else { continue };
                for y in first / self.columns..=last / self.columns {
                    for x in first % self.columns..=last % self.columns {
                        crossing.entry(y * self.columns + x).or_default().insert(zone);
                    }
                }
            }
        }
        crossing
    }
}

/// Returns the row or column of a coordinate, counted from the first one.
fn offset(degrees: f64, first: f64) -> usize {
    ((degrees - first) * SQUARES_A_DEGREE) as usize
}

impl Outline {
    fn of(id: i32, rings: Vec<Vec<GeoPoint>>, south: f64) -> Outline {
        let mut outline = Outline { id, rings, by_row: Vec::new() };
        for (one, other) in outline.lines().collect::<Vec<_>>() {
            let (first, last) = (offset(one.1.min(other.1), south), offset(one.1.max(other.1), south));
            if outline.by_row.len() <= last {
                outline.by_row.resize(last + 1, Vec::new());
            }
            outline.by_row[first..=last].iter_mut().for_each(|row| row.push((one, other)));
        }
        outline
    }

    /// Returns the edges. The last point of a ring repeats its first point.
    fn lines(&self) -> impl Iterator<Item = (GeoPoint, GeoPoint)> {
        self.rings.iter().flat_map(|ring| ring.windows(2).map(|line| (line[0], line[1])))
    }

    /// Returns true if the outline contains a point. `row` is the row of squares with the point.
    fn has(&self, point: GeoPoint, row: usize) -> bool {
        self.by_row.get(row).is_some_and(|lines| is_within(point, lines.iter().copied()))
    }
}

/// Returns true if a point is inside: a ray to the east then crosses an odd number of edges. This covers islands and
/// holes.
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
    use crate::common::dice::Dice;
    use crate::common::nyc::zones::zones;

    fn city() -> Index {
        let zones = zones().expect("the binary contains them");
        Index::of(zones.iter().filter_map(|zone| Some((zone.location_id, zone.outline.as_deref()?)))).expect("outlines")
    }

    #[test]
    fn the_grid_agrees_with_a_test_of_all_edges() {
        let index = city();
        let by_lines =
            |point: GeoPoint| index.zones.iter().find(|zone| is_within(point, zone.lines())).map(|zone| zone.id);
        let mut dice = Dice::new(7, "points");
        let mut part = || f64::from(dice.below(1_000_000)) / 1e6;
        let mut inside = 0;
        for _ in 0..4_000 {
            let point = (-74.3 + part() * 0.65, 40.47 + part() * 0.47);
            assert_eq!(index.zone(point), by_lines(point), "{point:?}");
            inside += usize::from(index.zone(point).is_some());
        }
        assert!((500..3_500).contains(&inside), "{inside}");
        // Corners of the outlines, where squares and edges meet.
        for point in index.zones.iter().flat_map(|zone| zone.rings.iter().flatten().step_by(40)) {
            assert_eq!(index.zone(*point), by_lines(*point), "{point:?}");
        }
    }

    #[test]
    fn landmarks_are_in_their_zones() {
        let index = city();
        let (airport, times_square, central_park) = ((-73.7781, 40.6413), (-73.9855, 40.7580), (-73.9654, 40.7829));
        assert_eq!([airport, times_square, central_park].map(|point| index.zone(point)), [132, 230, 43].map(Some));
        for nowhere in [(0.0, 0.0), (f64::NAN, 40.7), (-74.1, 40.4), (40.7580, -73.9855)] {
            assert_eq!(index.zone(nowhere), None, "{nowhere:?}");
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
