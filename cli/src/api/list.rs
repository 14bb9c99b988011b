//! Flags of commands that list objects, and the resulting API requests: filters, orders and the number of rows.

use super::Query;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{Format, FormatFlag, Listing};
use orch_spec::names::closest;
use orch_store::list::{Compare, Order, Search};
use std::fmt;
use std::str::FromStr;

/// For lists that grow every day: the default of `--limit` is 100. Other lists are shown completely.
pub(crate) const FIRST_HUNDRED: bool = true;
/// Parameters that have their own flags.
const NOT_FILTERS: [&str; 4] = ["limit", "offset", "cursor", "order_by"];
/// Separates an unknown filter from the valid ones in a rejection by the server.
const UNKNOWN: &str = ": Extra inputs are not permitted: this route reads ";
/// Separates an invalid order from the valid ones in a rejection by the server.
const UNSORTED: &str = "' is disallowed or the attribute does not exist on the model; available: ";

/// Flags of every list that the API answers.
#[derive(Debug, clap::Args)]
pub(crate) struct ListFlags<const IS_CUT: bool = false> {
    /// Show only rows that match, such as `state=failed`; may be repeated
    #[arg(long = "where", value_name = "NAME=VALUE", value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// Sort by this field, or with `-` before it in descending order; may be repeated
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    order_by: Vec<String>,
    /// Maximum number of rows, or `all`
    #[arg(long, value_name = "NUMBER", default_value = if IS_CUT { "100" } else { "all" })]
    limit: Most,
    #[command(flatten)]
    output: FormatFlag,
}

#[derive(Debug, Clone, Copy)]
struct Most(usize);

/// Filters, orders and maximum length of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListQuery {
    pub(super) query: Query,
    pub(crate) most: usize,
}

impl<const IS_CUT: bool> ListFlags<IS_CUT> {
    pub(crate) fn query(&self) -> ListQuery {
        let query = Query::default().with_pairs(&self.conditions).with_all("order_by", &self.order_by);
        ListQuery { query, most: self.limit.0 }
    }

    /// Like `query`, with additional filters of the command. Fails if `--where` repeats one of them.
    pub(crate) fn query_with(&self, own: &[(String, String)]) -> Result<ListQuery, Failure> {
        let is_own = |name: &str| own.iter().any(|(known, _)| known == name);
        if let Some((name, _)) = self.conditions.iter().find(|(name, _)| is_own(name)) {
            return Err(Failure::new(format!("`--where {name}=…` repeats another argument of this command"))
                .hint("leave one of the two out"));
        }
        let asked = self.query();
        Ok(ListQuery { query: asked.query.with_pairs(own), ..asked })
    }

    pub(crate) fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Returns true if none of the flags was given.
    pub(crate) fn is_whole(&self) -> bool {
        self.conditions.is_empty() && self.order_by.is_empty() && self.limit.0 == usize::MAX
    }

    pub(crate) fn format(&self) -> Format {
        self.output.format
    }

    pub(crate) fn print(&self, listing: Listing) -> Outcome {
        let listing = if self.has_conditions() { listing.when_empty("no matching rows") } else { listing };
        listing.print(self.output.format)
    }
}

impl ListQuery {
    pub(crate) fn all() -> ListQuery {
        ListQuery { query: Query::default(), most: usize::MAX }
    }

    /// Creates a query for all rows that match.
    pub(crate) fn of(search: &Search) -> ListQuery {
        ListQuery { query: Query::default().with_pairs(&search.parameters()), most: usize::MAX }
    }

    #[must_use]
    pub(crate) fn most(self, most: usize) -> ListQuery {
        ListQuery { most, ..self }
    }

    #[must_use]
    pub(super) fn with(self, name: &str, value: impl fmt::Display) -> ListQuery {
        ListQuery { query: self.query.with(name, value), ..self }
    }

    /// Adds a filter, unless the user has set it to another value.
    #[must_use]
    pub(crate) fn or(self, name: &str, value: impl fmt::Display) -> ListQuery {
        if self.query.has(name) { self } else { self.with(name, value) }
    }

    /// Adds an order for rows that are equal in the previous orders.
    #[must_use]
    pub(super) fn then_by(self, order: Order) -> ListQuery {
        let order = Search::default().by(order).parameters();
        ListQuery { query: self.query.with_pairs(&order), ..self }
    }
}

impl FromStr for Most {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Most, Self::Err> {
        match text {
            "all" => Ok(Most(usize::MAX)),
            number => number.parse().ok().filter(|most| *most > 0).map(Most).ok_or("must be a number from 1, or `all`"),
        }
    }
}

/// Parses `NAME=VALUE`. Rejects names that have their own flags. The value of a time bound is parsed like times in
/// other flags.
fn condition(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be `NAME=VALUE`, such as `state=failed`")?;
    if name.is_empty() {
        return Err("must begin with a name, as in `state=failed`".into());
    }
    if NOT_FILTERS.contains(&name) {
        return Err("has flags of its own: `--limit` and `--order-by`".into());
    }
    let is_bound = Compare::ALL.iter().any(|(end, _)| name.strip_suffix(end).is_some_and(|name| name.ends_with('_')));
    let moment = names::parse_moment(value).filter(|_| is_bound);
    Ok((name.into(), moment.map_or_else(|| value.into(), |at| at.to_rfc3339())))
}

/// Returns a question that suggests filters similar to `name`. Empty if there are none.
fn meant(name: &str, known: &[&str]) -> String {
    let is_bound = |known: &&str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
    let mut near: Vec<&str> = known.iter().copied().filter(is_bound).collect();
    if near.is_empty() {
        near.extend(closest(name, known.iter().copied()));
    }
    let near: Vec<String> = near.iter().map(|near| format!("`{near}`")).collect();
    if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(" or ")) }
}

/// Converts a rejection of filters or orders to a failure that lists the valid ones.
pub(super) fn refused_list(words: &str) -> Failure {
    let words = words.strip_prefix("query.").unwrap_or(words);
    if let Some((name, known)) = words.split_once(UNKNOWN) {
        let known = known.split("; ").next().unwrap_or_default();
        let known: Vec<&str> = known.split(", ").filter(|name| !NOT_FILTERS.contains(name)).collect();
        let hint = format!("{}its filters are {}", meant(name, &known), known.join(", "));
        return Failure::new(format!("this list has no filter `{name}`")).hint(hint);
    }
    if let Some((wrong, known)) = words.split_once(UNSORTED) {
        let name = wrong.split_once('\'').map_or(wrong, |(_, name)| name);
        return Failure::new(format!("this list cannot be sorted by `{name}`"))
            .hint(format!("it can be sorted by {known}"));
    }
    Failure::new(words)
}
