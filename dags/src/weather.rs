//! Weather, in four pipelines: each hour into the lake (`hourly`), readings of `WeatherAPI` (`events`), windows of
//! `OpenWeather` (`openweather`), and readings that a logging server receives (`logging`).

mod cities;
pub mod events;
pub mod hourly;
pub mod logging;
pub mod openweather;

use orch::Dag;
use orch_streams::Stream;

pub fn dags() -> Vec<Dag> {
    [hourly::dags::dags(), logging::dags(), events::dags(), openweather::dags()].into_iter().flatten().collect()
}

pub fn streams() -> Vec<Stream> {
    let own = [logging::stream(), events::stream()];
    own.into_iter().chain(openweather::streams()).collect()
}
