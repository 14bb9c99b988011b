//! What is known up to a day: the trips of each zone by the hour, as series that a forecast reads.

use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::grid::{Grid, hour_of};
use crate::common::nyc::schema::ZONES;
use crate::common::nyc::sources::{self, TRIPS, Zones};
use orch::prelude::*;
use orch_forecast::series::Series;
use std::collections::BTreeMap;

/// Which snapshot of each table was read.
pub type Snapshots = BTreeMap<String, i64>;

/// Trips by zone and hour.
#[derive(Debug)]
pub struct DemandHistory {
    pub zones: Zones,
    pub grid: Grid,
    pub days: Days,
    pub snapshots: Snapshots,
}

impl DemandHistory {
    /// # Errors
    /// The tables are not there, or cannot be read.
    pub(crate) async fn read(ctx: &Ctx, place: &Lakehouse, days: Days) -> TaskResult<DemandHistory> {
        let (trips, listed) = (sources::trips_table(place).await?, sources::zones_table(place).await?);
        let zones = sources::zones_of(&listed).await?;
        let mut grid = Grid::new(days, zones.all().len());
        sources::each_pickup(ctx, &trips, days, |pickup, zone| grid.add(zones.place(zone), pickup)).await?;
        let snapshot = |table: &orch_lake::Table| table.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        let listed_as = format!("{}.{}", ZONES.namespace, ZONES.name);
        let snapshots = [(TRIPS.to_owned(), snapshot(&trips)), (listed_as, snapshot(&listed))];
        let snapshots = snapshots.into_iter().filter_map(|(name, id)| Some((name, id?))).collect();
        Ok(DemandHistory { zones, grid, days, snapshots })
    }

    /// The first hour that is known, and the first one that is not.
    pub fn hours(&self) -> (i64, i64) {
        let (first, end) = self.days.micros();
        (hour_of(first), hour_of(end))
    }

    /// The places of the zones of each borough.
    pub fn zones_by_borough(&self) -> BTreeMap<String, Vec<usize>> {
        let mut boroughs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, zone) in self.zones.all().iter().enumerate() {
            boroughs.entry(zone.borough.clone()).or_default().push(at);
        }
        boroughs
    }

    /// Trips of some zones together.
    pub fn series(&self, zones: &[usize]) -> Series {
        let (first, end) = self.hours();
        let count = |hour: i64| -> Option<u32> {
            let counts = zones.iter().map(|zone| self.grid.demand(*zone, hour));
            u32::try_from(counts.sum::<Option<i64>>()?).ok()
        };
        Series::new(first, (first..end).map(count).collect())
    }

    pub fn boroughs(&self) -> BTreeMap<String, Series> {
        self.zones_by_borough().into_iter().map(|(name, zones)| (name, self.series(&zones))).collect()
    }
}
