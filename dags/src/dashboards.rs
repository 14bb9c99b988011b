//! The dashboards of the pipelines. Each file of `dashboards/` is one.

macro_rules! dashboards {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("dashboards/", $name)))),+]
    };
}

/// The name of each file, and its text.
pub const DASHBOARDS: [(&str, &str); 3] =
    dashboards!["retail.dashboard.yaml", "taxi.dashboard.yaml", "weather.dashboard.yaml"];
