//! The keys of a dashboard.

use super::{Key, Shape, TEXTS, key, required};
use crate::dashboard::{FILTER_TYPES, PANEL_TYPES, ROLES};

const FILTER: &[Key] = &[
    required("name", &Shape::Text, "Queries name the value as `$name`"),
    required("type", &Shape::Word(FILTER_TYPES), "What its values are"),
    key("title", &Shape::Text, "What people read beside the field; the name without this"),
    key("default", &Shape::Any, "The value that counts until a reader chooses another one"),
    key("default_sql", &Shape::Text, "The same by a query of one value, such as the newest day of a table"),
    key("choices", &TEXTS, "What there is to choose from"),
    key("choices_sql", &Shape::Text, "The same by a query: the first column"),
    key("minimum", &Shape::Whole, "Of a whole number"),
    key("maximum", &Shape::Whole, "Of a whole number"),
];

const PANEL: &[Key] = &[
    required("title", &Shape::Text, "What it shows"),
    required("type", &Shape::Word(PANEL_TYPES), "How it is drawn"),
    required("sql", &Shape::Text, "One `select` over tables of the lake, which names filters as `$name`"),
    key("description", &Shape::Text, "A sentence below the title"),
    key("unit", &Shape::Text, "What figures are counted in: `$` before them, all else behind them"),
    key("compare", &Shape::Text, "Of figures: what the second column is, as in `the day before`"),
    key("series", &Shape::Text, "Of lines and bars: the column whose values are lines of their own"),
    key("lower", &Shape::Text, "Of lines: the column with the lower end of the band"),
    key("upper", &Shape::Text, "Of lines: the column with the upper end of the band"),
    key("wide", &Shape::Flag, "It has the whole width of the page"),
    key("dags", &TEXTS, "The DAGs that fill its tables; those of the dashboard without this"),
];

pub(in crate::file) const DASHBOARD: &[Key] = &[
    required("title", &Shape::Text, "The heading of the page"),
    key("name", &Shape::Text, "Its place under `/dashboards/`; the name of the file without this"),
    key("description", &Shape::Text, "What it is for, in a sentence"),
    key("role", &Shape::Word(ROLES), "Readers have this role or a higher one; `op` without this"),
    key("dags", &TEXTS, "The DAGs that fill its tables: a page without rows links to them"),
    key("filters", &Shape::List(&Shape::Object(FILTER)), "Values that readers choose"),
    required("panels", &Shape::List(&Shape::Object(PANEL)), "What the page shows, in order"),
];
