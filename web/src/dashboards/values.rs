//! The values of a dashboard's filters: parsed from the URL by their types, or the defaults. An error is shown next to
//! its field, and no query runs until it is fixed.

use super::ask::{DashboardQuery, first_column};
use super::{DashboardSources, LoadedDashboard};
use crate::extract::Query;
use orch_document::dashboard::{Filter, FilterType, FilterValue};
use orch_store::lake_view::{SqlValue, SqlValues};

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    /// The type of the `input` element. `None` for a choice.
    pub(crate) input: Option<&'static str>,
    pub(crate) text: String,
    pub(crate) choices: Vec<String>,
    /// True if the field may be empty.
    pub(crate) is_optional: bool,
    pub(crate) least: String,
    pub(crate) most: String,
    pub(crate) problem: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) fields: Vec<Field>,
    pub(crate) sql: SqlValues,
}

impl Values {
    pub(crate) fn are_right(&self) -> bool {
        self.fields.iter().all(|field| field.problem.is_none())
    }

    /// Returns the non-empty values as a query string for URLs.
    pub(crate) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for field in self.fields.iter().filter(|field| !field.text.is_empty()) {
            query.append_pair(&field.name, &field.text);
        }
        query.finish()
    }
}

/// Reads the values from the query. Queries for defaults and choices run first and are awaited.
pub(super) async fn read(asked: &DashboardSources<'_>, shown: &LoadedDashboard, given: &Query) -> Values {
    let mut values = Values::default();
    for filter in &shown.dashboard.filters {
        let chosen = given.text(&filter.name).map(str::trim).filter(|text| !text.is_empty());
        let text = match chosen {
            Some(text) => text.to_owned(),
            None => default(asked, filter).await,
        };
        let read = filter.read(&text);
        let choices = match &filter.choices_sql {
            Some(sql) => first_column(asked, DashboardQuery::Choices(sql)).await,
            None => filter.choices.clone(),
        };
        values.sql.insert(filter.name.clone(), read.as_ref().map_or(SqlValue::Null, sql_value));
        values.fields.push(field(filter, text, choices, read.err()));
    }
    values
}

async fn default(asked: &DashboardSources<'_>, filter: &Filter) -> String {
    let Some(sql) = &filter.default_sql else { return filter.default_text().unwrap_or_default() };
    let mut text = first_column(asked, DashboardQuery::Default(sql)).await.into_iter().next().unwrap_or_default();
    if filter.data_type == FilterType::Date {
        // Keeps only the date of a timestamp.
        text.truncate(text.char_indices().nth(10).map_or(text.len(), |(end, _)| end));
    }
    text
}

fn field(filter: &Filter, text: String, mut choices: Vec<String>, problem: Option<String>) -> Field {
    let input = match filter.data_type {
        FilterType::Date => Some("date"),
        FilterType::Integer => Some("number"),
        FilterType::Text => Some("text"),
        FilterType::Choice => None,
    };
    // The selected value stays selected, even if the table no longer contains it.
    if input.is_none() && !text.is_empty() && !choices.contains(&text) {
        choices.insert(0, text.clone());
    }
    let number = |limit: Option<i64>| limit.map_or_else(String::new, |limit| limit.to_string());
    Field {
        name: filter.name.clone(),
        label: filter.label().into(),
        input,
        text,
        choices,
        is_optional: filter.default.is_none() && filter.default_sql.is_none(),
        least: number(filter.minimum),
        most: number(filter.maximum),
        problem,
    }
}

fn sql_value(value: &FilterValue) -> SqlValue {
    match value {
        FilterValue::Null => SqlValue::Null,
        FilterValue::Integer(number) => SqlValue::Integer(*number),
        FilterValue::Text(text) => SqlValue::Text(text.clone()),
        FilterValue::Date(date) => SqlValue::Date(*date),
    }
}
