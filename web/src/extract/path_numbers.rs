//! Numbers in paths. Each line declares the type, the name and the description of one. Handlers read them with these
//! constants (`Names::number`), and `/openapi.json` is generated from the same lines.

use serde_json::{Value, json};
use std::marker::PhantomData;

/// A number in a path: its name and the type that handlers receive.
pub(crate) struct PathNumber<T>(pub(super) &'static str, pub(super) PhantomData<T>);

/// Declares numbers. `from` is the minimum in the OpenAPI document; handlers reject smaller numbers.
macro_rules! path_numbers {
    ($($(#[doc = $about:literal])* $number:ident: $kind:ty = $name:literal $(from $least:literal)?;)*) => {
        $($(#[doc = $about])* pub(crate) const $number: PathNumber<$kind> = PathNumber($name, PhantomData);)*

        /// Returns the description and the JSON Schema of a number.
        pub(crate) fn described(name: &str) -> Option<(&'static str, Value)> {
            Some(match name {
                $($name => {
                    let least = [$($least,)? <$kind>::MIN];
                    let schema = json!({ "type": "integer", "minimum": least[0], "maximum": <$kind>::MAX });
                    (concat!($($about),*).trim(), schema)
                })*
                _ => return None,
            })
        }
    };
}

path_numbers! {
    /// An alert's number
    ALERT_ID: i64 = "alert_id";
    /// An alias's number
    ASSET_ALIAS_ID: i64 = "asset_alias_id";
    /// An asset's number
    ASSET_ID: i64 = "asset_id";
    /// A backfill's number
    BACKFILL_ID: i64 = "backfill_id" from 0;
    EVENT_LOG_ID: i64 = "event_log_id";
    IMPORT_ERROR_ID: i64 = "import_error_id";
    LOGIN_ID: i64 = "login_id";
    /// An element of a mapped task, from 0
    MAP_INDEX: i32 = "map_index";
    SHARE: i32 = "share";
    TASK: i32 = "task";
    /// A try, from 1
    TASK_TRY_NUMBER: i16 = "task_try_number";
    TOKEN_ID: i64 = "token_id";
    /// A try, from 1
    TRY_NUMBER: i16 = "try_number";
    /// A version of the DAG, from 1
    VERSION_NUMBER: i32 = "version_number";
}
