//! The known trips of each zone by hour, as series for a forecast.

use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::grid::Grid;
use crate::common::nyc::sources::{Zone, pickups, trips_table, zones_of, zones_table};
use orch::prelude::*;
use orch_forecast::series::Series;
use orch_lake::Table;
use polars::prelude::DataType;
use std::collections::{BTreeMap, HashMap};

/// Snapshot ID of each table that was read.
pub type Snapshots = BTreeMap<String, i64>;

#[derive(Debug)]
pub struct DemandHistory {
    pub zones: Vec<Zone>,
    pub grid: Grid,
    pub days: Days,
    pub snapshots: Snapshots,
}

impl DemandHistory {
    pub(crate) async fn read(ctx: &Ctx, place: &Lakehouse, days: Days) -> TaskResult<DemandHistory> {
        let (trips, listed) = (trips_table(place).await?, zones_table(place).await?);
        let zones = zones_of(&listed).await?;
        let offsets: HashMap<i32, usize> = zones.iter().map(|zone| zone.location_id).zip(0..).collect();
        let pickups = pickups(ctx, &trips, days).await?;
        let counts = pickups.column("trips")?.cast(&DataType::UInt32)?;
        let (hours, ids) = (pickups.column("hour")?.i64()?, pickups.column("zone")?.i32()?);
        let mut grid = Grid::new(days, zones.len());
        let counted = hours.into_no_null_iter().zip(ids.into_no_null_iter()).zip(counts.u32()?.into_no_null_iter());
        counted.for_each(|((hour, id), trips)| grid.add(offsets.get(&id).copied(), hour, trips));
        let snapshot = |table: &Table| Some((table.name().to_string(), table.current_snapshot()?.snapshot_id()));
        let snapshots = [&trips, &listed].into_iter().filter_map(snapshot).collect();
        Ok(DemandHistory { zones, grid, days, snapshots })
    }

    /// Returns the offsets of the zones of each borough.
    pub fn zones_by_borough(&self) -> BTreeMap<String, Vec<usize>> {
        let mut boroughs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, zone) in self.zones.iter().enumerate() {
            boroughs.entry(zone.borough.clone()).or_default().push(at);
        }
        boroughs
    }

    /// Returns the total trips of several zones, by hour.
    pub fn series(&self, zones: &[usize]) -> Series {
        let count = |hour: i64| -> Option<u32> {
            let counts = zones.iter().map(|zone| self.grid.demand(*zone, hour));
            u32::try_from(counts.sum::<Option<i64>>()?).ok()
        };
        let hours = self.days.hours();
        Series::new(hours.start, hours.map(count).collect())
    }

    pub fn boroughs(&self) -> BTreeMap<String, Series> {
        self.zones_by_borough().into_iter().map(|(name, zones)| (name, self.series(&zones))).collect()
    }
}
