//! The dashboards of the pipelines. Each file of `dashboards/` is one.

macro_rules! dashboards {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("dashboards/", $name)))),+]
    };
}

/// The name of each file, and its text.
pub const DASHBOARDS: [(&str, &str); 3] =
    dashboards!["retail.dashboard.yaml", "taxi.dashboard.yaml", "weather.dashboard.yaml"];

#[cfg(test)]
mod tests {
    use super::*;
    use orch::Dashboard;

    #[test]
    fn every_dashboard_can_be_read_and_says_which_dags_fill_it() {
        for (file, text) in DASHBOARDS {
            let dashboard = Dashboard::read(file, text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
            assert!(file.starts_with(&dashboard.name), "{file}");
            let dags = crate::dags();
            let is_there = |id: &String| dags.iter().any(|dag| dag.spec().dag_id == *id);
            let named = dashboard.panels.iter().flat_map(|panel| dashboard.dags_of(panel));
            assert!(named.clone().count() >= dashboard.panels.len() && named.clone().all(is_there), "{file}");
        }
    }
}
