//! Dashboards: queries over the lake, how their rows are drawn, and filters whose values readers choose.
//!
//! Each document contains one dashboard. Bundles contain dashboards as files in their binary; in a folder of DAG files
//! they are the files named `….dashboard.yaml`. They are stored as data, so pages do not need the code that declared
//! them. Only the variables of the SQL are checked here: the lake parses the SQL, and the panel shows its errors.

mod filter;

pub use filter::{Filter, FilterType, FilterValue};

use crate::file::{problem_at, read_dashboard, stem};
use crate::sql::variables;
use crate::yaml::node::{Mark, Node};
use orch_spec::check::FileProblem;
use orch_spec::names::closest;
use orch_spec::text::clean_json;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const FILTER_TYPES: &[&str] = &["date", "integer", "text", "choice"];
pub(crate) const PANEL_TYPES: &[&str] = &["figure", "lines", "bars", "table", "map"];
pub(crate) const ROLES: &[&str] = &["viewer", "user", "op", "admin"];
/// Maximum number of panels. A page with more would be slow to load and hard to read.
const MOST_PANELS: usize = 60;
const MOST_FILTERS: usize = 12;
const MOST_NAME: usize = 100;
/// Kind in the names of files.
const KIND: &str = "dashboard";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dashboard {
    #[serde(default)]
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// Minimum role of readers.
    #[serde(default = "usual_role")]
    pub role: String,
    #[serde(default, deserialize_with = "texts")]
    pub dags: Vec<String>,
    #[serde(default)]
    pub filters: Vec<Filter>,
    pub panels: Vec<Panel>,
}

/// The role that may query the data with SQL.
fn usual_role() -> String {
    "op".into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Derived from the title. Identifies the panel on the page and in URLs.
    #[serde(default)]
    pub id: String,
    pub title: String,
    #[serde(rename = "type")]
    pub look: PanelType,
    pub sql: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub unit: String,
    #[serde(default)]
    pub compare: String,
    #[serde(default)]
    pub series: Option<String>,
    #[serde(default)]
    pub lower: Option<String>,
    #[serde(default)]
    pub upper: Option<String>,
    #[serde(default)]
    pub wide: bool,
    #[serde(default, deserialize_with = "texts")]
    pub dags: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PanelType {
    /// The first value, next to the second one if there is one.
    Figure,
    /// The first column is the time, the others are numbers.
    Lines,
    /// The first column is a time or a category, the others are numbers.
    Bars,
    Table,
    /// The first column is a place, `outline` is its geometry (`GeoJSON`), and the last of the other columns is a
    /// number.
    Map,
}

/// Reads a string or a list of strings.
pub(crate) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Texts::deserialize(from)? {
        Texts::One(one) => vec![one],
        Texts::Several(several) => several,
    })
}

pub fn is_dashboard_file(name: &str) -> bool {
    stem(name, KIND).is_some()
}

impl Dashboard {
    /// Reads a dashboard in YAML or JSON, or returns every problem with its line and column.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Dashboard, Vec<FileProblem>> {
        let document = &read_dashboard(file, bytes)?;
        let read = serde_json::from_value(document.json());
        let mut dashboard: Dashboard = read
            .map_err(|error| vec![problem_at(file, document.mark, error.to_string(), "see the guide of dashboards")])?;
        if dashboard.name.is_empty() {
            dashboard.name = stem(file, KIND).unwrap_or_default().into();
        }
        dashboard.name_panels();
        let problems = dashboard.problems(file, document);
        if problems.is_empty() { Ok(dashboard) } else { Err(problems) }
    }

    pub fn panel(&self, id: &str) -> Option<&Panel> {
        self.panels.iter().find(|panel| panel.id == id)
    }

    /// Returns the DAGs that fill the tables of a panel.
    pub fn dags_of<'a>(&'a self, panel: &'a Panel) -> &'a [String] {
        if panel.dags.is_empty() { &self.dags } else { &panel.dags }
    }

    /// Sets the ids of the panels. Further panels with the same title get a number.
    fn name_panels(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for panel in &mut self.panels {
            let slug = slug(&panel.title);
            let count = counts.entry(slug.clone()).or_default();
            *count += 1;
            panel.id = if *count == 1 { slug } else { format!("{slug}--{count}") };
        }
    }

    /// Returns the problems that the table of keys cannot detect.
    fn problems(&self, file: &str, document: &Node) -> Vec<FileProblem> {
        let mut found = Vec::new();
        let mut add = |mark: Mark, message: String, hint: &str| found.push(problem_at(file, mark, message, hint));
        let mark_of = |key: &str| document.get(key).map_or(document.mark, |node| node.mark);
        if !is_name(&self.name) {
            let message = format!("`{}` is no name of a dashboard", self.name);
            add(mark_of("name"), message, "write `name:` with letters, digits, `_` and `-`");
        }
        // All dashboards of a folder are registered by a single statement, which a NUL would make fail.
        let texts = serde_json::to_string(self).unwrap_or_default();
        if matches!(clean_json(&texts), Cow::Owned(_)) {
            add(document.mark, "a text has a NUL character".into(), "remove it: Postgres stores no NUL");
        }
        if self.panels.is_empty() || self.panels.len() > MOST_PANELS {
            add(mark_of("panels"), format!("there are {} panels", self.panels.len()), "write 1 to 60 panels");
        }
        if self.filters.len() > MOST_FILTERS {
            add(mark_of("filters"), format!("there are {} filters", self.filters.len()), "write at most 12 filters");
        }
        let mut known = BTreeSet::new();
        let nodes = document.get("filters").map_or(&[][..], Node::items);
        for (filter, node) in self.filters.iter().zip(nodes) {
            if !known.insert(filter.name.as_str()) {
                add(node.mark, format!("filter `{}` is there twice", filter.name), "give one of the two another name");
            }
            if let Some((key, message, hint)) = filter.problem() {
                let mark = node.get(key).map_or(node.mark, |node| node.mark);
                add(mark, format!("filter `{}`: {message}", filter.name), hint);
            }
            for (key, sql) in [("default_sql", &filter.default_sql), ("choices_sql", &filter.choices_sql)] {
                let Some(variable) = sql.as_deref().and_then(|sql| variables(sql).into_iter().next()) else { continue };
                let mark = node.get(key).map_or(node.mark, |node| node.mark);
                let message = format!("filter `{}`: `{key}` has the variable `${variable}`", filter.name);
                add(mark, message, "write the value itself: only the queries of panels have variables");
            }
        }
        let nodes = document.get("panels").map_or(&[][..], Node::items);
        for (panel, node) in self.panels.iter().zip(nodes) {
            if let Some((key, hint)) = panel.problem() {
                let mark = node.get(key).map_or(node.mark, |node| node.mark);
                add(mark, format!("panel `{}`: `{key}` is not for `{}`", panel.title, panel.look.as_str()), hint);
            }
            let unknown: BTreeSet<&str> =
                variables(&panel.sql).into_iter().filter(|name| !known.contains(name)).collect();
            for name in unknown {
                let mark = node.get("sql").map_or(node.mark, |node| node.mark);
                let message = format!("panel `{}`: there is no filter for the variable `${name}`", panel.title);
                add(mark, message, &hint_for_variable(name, &known));
            }
        }
        found
    }
}

/// Returns a hint for a variable of a query that is not the name of a filter.
fn hint_for_variable(name: &str, known: &BTreeSet<&str>) -> String {
    if known.is_empty() {
        return "the dashboard has no filters: add one under `filters`, or write the value itself".into();
    }
    let all = known.iter().map(|known| format!("`${known}`")).collect::<Vec<_>>().join(", ");
    match closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `${near}`? The filters are {all}"),
        None => format!("the filters are {all}: write one of them, or add a filter `{name}`"),
    }
}

impl Panel {
    /// Returns the first key that does not apply to this type of panel, with a hint.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let drawn = [PanelType::Lines, PanelType::Bars].contains(&self.look);
        let rules = [
            (
                "compare",
                !self.compare.is_empty() && self.look != PanelType::Figure,
                "remove `compare`, or write `type: figure`: only a `figure` shows a comparison",
            ),
            ("series", self.series.is_some() && !drawn, "remove `series`, or write `type: lines` or `type: bars`"),
            ("lower", self.lower.is_some() && self.look != PanelType::Lines, "remove `lower`, or write `type: lines`"),
            ("upper", self.upper.is_some() && self.look != PanelType::Lines, "remove `upper`, or write `type: lines`"),
            ("lower", self.lower.is_some() && self.upper.is_none(), "write `upper` too: a band has two ends"),
            ("upper", self.upper.is_some() && self.lower.is_none(), "write `lower` too: a band has two ends"),
        ];
        rules.into_iter().find(|(_, is_wrong, _)| *is_wrong).map(|(key, _, hint)| (key, hint))
    }
}

impl PanelType {
    pub fn as_str(self) -> &'static str {
        match self {
            PanelType::Figure => "figure",
            PanelType::Lines => "lines",
            PanelType::Bars => "bars",
            PanelType::Table => "table",
            PanelType::Map => "map",
        }
    }
}

/// Returns whether a name is not empty, not too long, and consists of letters, digits, `_` and `-`.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Returns the slug of a title: `Trips by hour` becomes `trips-by-hour`. Never empty, and never with two `-` in a row,
/// so it cannot equal an id with a number.
fn slug(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    if slug.is_empty() { "panel".into() } else { slug.chars().take(MOST_NAME).collect() }
}

#[cfg(test)]
mod tests;
