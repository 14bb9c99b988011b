//! A choropleth map: regions with their real outlines, darker for larger numbers. There are five shades between round
//! limits, which the legend lists. Regions without a number are drawn without a shade.

use super::amount::brief;
use super::{Escaped, ticks};
use askama::filters::HtmlSafe;
use serde_json::Value;
use std::fmt;

/// Width of the view box. The picture is stretched to the available width.
const WIDE: f64 = 1_000.0;
/// Maximum height. The map of a single tall island would otherwise fill several screens.
const MOST_TALL: f64 = 1_200.0;
/// Number of shades.
const STEPS: f64 = 5.0;

#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) number: Option<f64>,
    /// Longitude and latitude of each point.
    rings: Vec<Vec<(f64, f64)>>,
}

impl Region {
    /// Parses an outline, a `GeoJSON` polygon or multipolygon. Returns `None` if it is invalid.
    pub(crate) fn new(name: String, number: Option<f64>, outline: &str) -> Option<Region> {
        let geometry: Value = serde_json::from_str(outline).ok()?;
        let coordinates = &geometry["coordinates"];
        let polygons = match geometry["type"].as_str()? {
            "Polygon" => vec![coordinates],
            "MultiPolygon" => coordinates.as_array()?.iter().collect(),
            _ => return None,
        };
        let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
        let ring = |ring: &Value| ring.as_array()?.iter().map(point).collect::<Option<Vec<_>>>();
        let rings = polygons.into_iter().flat_map(|polygon| polygon.as_array().into_iter().flatten()).map(ring);
        let rings = rings.collect::<Option<Vec<_>>>().filter(|rings| !rings.is_empty())?;
        Some(Region { name, number: number.filter(|number| number.is_finite()), rings })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Map {
    title: String,
    regions: Vec<Region>,
    west: f64,
    north: f64,
    /// Units of the view box per degree of longitude and of latitude.
    scale: (f64, f64),
    tall: f64,
    /// Difference between the limits of two shades.
    step: f64,
}

impl Map {
    /// Returns `None` if the outlines do not cover a valid area.
    pub(crate) fn new(title: String, regions: Vec<Region>) -> Option<Map> {
        let points = || regions.iter().flat_map(|region| region.rings.iter().flatten());
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let greatest = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (west, east, south, north) = (least(|p| p.0), greatest(|p| p.0), least(|p| p.1), greatest(|p| p.1));
        let is_sound = east > west && north > south && (-90.0..=90.0).contains(&south) && north <= 90.0;
        if !is_sound {
            return None;
        }
        // A degree of longitude is shorter at higher latitudes.
        let shorter = f64::midpoint(south, north).to_radians().cos().max(0.01);
        let scale = (WIDE / ((east - west) * shorter)).min(MOST_TALL / (north - south));
        let most = regions.iter().filter_map(|region| region.number).fold(0.0, f64::max);
        let step = ticks::number(if most > 0.0 { most } else { 1.0 }, STEPS);
        let tall = (north - south) * scale;
        Some(Map { title, regions, west, north, scale: (scale * shorter, scale), tall, step })
    }

    /// Returns each used shade with its range.
    pub(crate) fn legend(&self) -> Vec<(Shade, String)> {
        let most = self.regions.iter().filter_map(|region| region.number).fold(0.0, f64::max);
        let limits = (0_u8..5).map(|shade| (shade, self.step * f64::from(shade)));
        let used = limits.take_while(|(shade, limit)| *shade == 0 || *limit <= most);
        used.map(|(shade, limit)| (Shade(shade), format!("{} to {}", brief(limit), brief(limit + self.step)))).collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 4")]
    fn shade(&self, number: f64) -> Shade {
        Shade((number / self.step).floor().clamp(0.0, STEPS - 1.0) as u8)
    }
}

/// A shade from 0 (lightest) to 4 (darkest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shade(u8);

impl fmt::Display for Shade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg width="20" height="12" aria-hidden="true"><rect class="zone z{}" width="20" height="12"/></svg>"#,
            self.0
        )
    }
}

impl HtmlSafe for Shade {}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg class="map" viewBox="0 0 {WIDE:.0} {:.0}" role="img" aria-label="{}">"#,
            self.tall,
            Escaped(&self.title)
        )?;
        for region in &self.regions {
            match region.number {
                Some(number) => write!(f, r#"<path class="zone z{}" d=""#, self.shade(number).0)?,
                None => f.write_str(r#"<path class="zone" d=""#)?,
            }
            for ring in &region.rings {
                for (at, (longitude, latitude)) in ring.iter().enumerate() {
                    let (x, y) = ((longitude - self.west) * self.scale.0, (self.north - latitude) * self.scale.1);
                    write!(f, "{}{x:.0} {y:.0}", if at == 0 { 'M' } else { 'L' })?;
                }
                f.write_str("Z")?;
            }
            write!(f, r#""><title>{}: "#, Escaped(&region.name))?;
            match region.number {
                Some(number) => write!(f, "{number}</title></path>")?,
                None => f.write_str("nothing</title></path>")?,
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Map {}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: &str =
        r#"{"type":"Polygon","coordinates":[[[-74.0,40.0],[-73.0,40.0],[-73.0,41.0],[-74.0,41.0],[-74.0,40.0]]]}"#;

    #[test]
    fn the_larger_a_number_the_darker_its_region() {
        let region = |name: &str, number: Option<f64>| Region::new(name.into(), number, SQUARE).expect("an outline");
        let regions = vec![region("<A>", Some(0.0)), region("B", Some(99.0)), region("C", None)];
        let map = Map::new("trips".into(), regions).expect("a map");
        let drawn = map.to_string();
        for part in [
            "zone z0\" d=\"M0 1200L912 1200L912 0L0 0L0 1200Z\"><title>&#60;A&#62;: 0<",
            "zone z4\"",
            "<title>B: 99<",
            "class=\"zone\" d=",
            "<title>C: nothing<",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let words: Vec<String> = map.legend().into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, ["0 to 20", "20 to 40", "40 to 60", "60 to 80", "80 to 100"]);
    }

    #[test]
    fn what_is_no_outline_is_no_region() {
        for text in ["", "{}", r#"{"type":"Point","coordinates":[1,2]}"#, r#"{"type":"Polygon","coordinates":[["x"]]}"#]
        {
            assert!(Region::new("A".into(), None, text).is_none(), "{text}");
        }
        assert!(Map::new("t".into(), Vec::new()).is_none());
    }
}
