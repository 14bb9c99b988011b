//! What must hold of each table before it is published.

use super::demand::{BOROUGHS, DEMAND};
use super::drift::{ANOMALIES, DRIFT};
use super::fares::TRIPS;
use super::models::MODELS;
use crate::common::nyc::table::in_zones;
use orch_forecast::features::HORIZON;
use orch_lake::contract::Contract;

pub fn demand() -> Contract {
    in_zones(DEMAND.contract(), &["location_id"])
        .between("hours_ahead", 1, HORIZON)
        .at_least("predicted_demand", 0)
        .at_least("lower", 0)
        .between("confidence_score", 0, 1)
        .between("weather_impact_factor", 1, "1.3")
}

pub fn boroughs() -> Contract {
    BOROUGHS
        .contract()
        .between("hours_ahead", 1, HORIZON)
        .at_least("predicted_demand", 0)
        .at_least("lower", 0)
        .at_least("lower_99", 0)
}

pub fn models() -> Contract {
    MODELS.contract().between("coverage", 0, 1).at_least("mae", 0).at_least("training_rows", 1)
}

pub fn drift() -> Contract {
    DRIFT.contract().between("hours", 1, 24).at_least("mae", 0)
}

pub fn anomalies() -> Contract {
    ANOMALIES.contract().at_least("actual", 0).at_least("lower", 0)
}

pub fn trips() -> Contract {
    TRIPS.contract()
}
