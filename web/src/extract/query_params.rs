//! Query parameters of routes. `query_params!` declares a struct that handlers receive (`Query::whole`), and
//! `/openapi.json` is generated from the same declaration. A new parameter needs one line in the struct and the code
//! that uses it.

use super::Query;
use crate::openapi::kinds::{Param, QueryParamType};
use chrono::{DateTime, Utc};

pub(crate) trait QueryParams {
    fn params() -> Vec<Param>;

    /// Reads the parameters. Problems are recorded in the query; the returned struct must not be used then.
    fn take(query: &mut Query) -> Self;
}

pub(crate) trait ParamType {
    /// The type that handlers receive.
    type Value;
    const IS_REQUIRED: bool = false;

    /// Returns the type in `/openapi.json`.
    fn kind() -> QueryParamType;

    /// Reads a parameter. If it is invalid, records a problem in the query and returns an arbitrary value.
    fn read(query: &mut Query, name: &'static str) -> Self::Value;
}

/// Implements [`ParamType`] with a reader of the query.
macro_rules! read_by {
    ($($kind:ty: $described:ident, $read:expr;)*) => {
        $(impl ParamType for $kind {
            type Value = $kind;

            fn kind() -> QueryParamType {
                QueryParamType::$described
            }

            fn read(query: &mut Query, name: &'static str) -> $kind {
                ($read)(query, name)
            }
        })*
    };
}

read_by! {
    bool: Flag, |query: &mut Query, name: &str| query.flag(name).unwrap_or(false);
    Option<bool>: Flag, Query::flag;
    Option<f64>: Number, Query::number;
    Option<i64>: Index, |query: &mut Query, name: &str| query.whole_numbers(name).pop();
    Vec<i64>: Wholes, Query::whole_numbers;
    Option<DateTime<Utc>>: Moment, Query::moment;
    Option<String>: Text, |query: &mut Query, name: &str| query.text(name).map(String::from);
    Vec<String>: Texts, |query: &mut Query, name: &str| query.all(name).map(String::from).collect();
}

/// A non-negative integer. The default is `USUAL`, and larger values than `MOST` are reduced to `MOST`.
pub(crate) struct Count<const USUAL: i64, const MOST: i64 = { i64::MAX }>;

impl<const USUAL: i64, const MOST: i64> ParamType for Count<USUAL, MOST> {
    type Value = i64;

    fn kind() -> QueryParamType {
        QueryParamType::Count { usual: USUAL, most: MOST }
    }

    fn read(query: &mut Query, name: &'static str) -> i64 {
        query.count(name, USUAL).min(MOST)
    }
}

/// An optional non-negative integer.
pub(crate) struct OptionalCount;

impl ParamType for OptionalCount {
    type Value = Option<i64>;

    fn kind() -> QueryParamType {
        QueryParamType::OptionalCount
    }

    fn read(query: &mut Query, name: &'static str) -> Option<i64> {
        query.text(name).is_some().then(|| query.count(name, 0))
    }
}

/// Declares the query parameters of a route. `name: Type` is a parameter; `name: Type as kind` describes it as a
/// narrower kind, which the handler must check itself.
macro_rules! query_params {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident$(<$of:ident: $bound:path>)? {
            $($(#[doc = $param_about:literal])* $param:ident: $kind:ty $(as $narrower:expr)?,)*
        }
    ) => {
        $(#[doc = $about])*
        $vis struct $name$(<$of: $bound>)? {
            $($(#[doc = $param_about])* $vis $param: <$kind as $crate::extract::ParamType>::Value,)*
        }

        impl$(<$of: $bound>)? $crate::extract::QueryParams for $name$(<$of>)? {
            fn params() -> Vec<$crate::openapi::kinds::Param> {
                vec![$($crate::openapi::kinds::Param {
                    name: stringify!($param).into(),
                    kind: <$kind as $crate::extract::ParamType>::kind(),
                    about: concat!($($param_about),*).trim(),
                    required: <$kind as $crate::extract::ParamType>::IS_REQUIRED,
                }$(.narrowed($narrower))?,)*]
            }

            fn take(query: &mut $crate::extract::Query) -> Self {
                $name { $($param: <$kind as $crate::extract::ParamType>::read(query, stringify!($param)),)* }
            }
        }
    };
}

pub(crate) use query_params;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use serde_json::{Value, json};

    query_params! {
        struct Example {
            /// Whether it is,
            /// or is not
            is_sure: bool,
            /// Maximum number of items
            limit: Count<5, 2_000>,
            word: Option<String> as QueryParamType::Word(&["a", "b"]),
            offset: OptionalCount,
        }
    }

    #[test]
    fn a_query_is_read_by_what_is_declared() {
        let mut query = Query::parse("limit=5000&is_sure=yes&word=c");
        let Example { is_sure, limit, word, offset } = query.whole().expect("it is right");
        assert_eq!((is_sure, limit, word.as_deref(), offset), (true, 2_000, Some("c"), None));
        let Example { is_sure, limit, word, offset } = Query::parse("offset=0").whole().expect("it is right");
        assert_eq!((is_sure, limit, word, offset), (false, 5, None, Some(0)));
        let found = Query::parse("offset=x&limit=-1&is_sure=maybe").whole::<Example>();
        let Err(Refusal::Invalid(problems)) = found else { panic!("it is wrong") };
        let kinds: Vec<_> = problems.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, ["bool_parsing", "greater_than_equal", "int_parsing"]);
    }

    #[test]
    fn parameters_are_described_as_they_are_read() {
        let described: Vec<Value> = Example::params().iter().map(Param::described).collect();
        let about: Vec<&Value> = described.iter().map(|param| &param["description"]).collect();
        assert_eq!(about, ["Whether it is, or is not", "Maximum number of items; no more than 2,000", "", ""]);
        assert_eq!(described[0]["schema"], json!({ "type": "boolean" }));
        assert_eq!(described[1]["schema"]["default"], 5);
        assert_eq!(described[2]["schema"]["enum"], json!(["a", "b"]));
        assert!(described.iter().all(|param| param["required"] == false));
    }
}
