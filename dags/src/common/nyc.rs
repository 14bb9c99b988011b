//! The New York tables that the taxi, weather and analytics pipelines share: their schemas, the taxi zones, and
//! readers.

pub mod days;
pub mod forecast;
pub mod grid;
pub mod month;
pub mod schema;
pub mod sources;
pub mod table;
pub mod zones;
