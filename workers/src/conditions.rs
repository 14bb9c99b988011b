//! The built-in conditions. Each module implements the poke for one kind of wait in `orch_sdk::wait`.

mod file;
mod http;
mod runs;
mod several;
mod sql;
mod time;

use orch_sdk::task::Conditions;
use std::sync::Arc;

pub(crate) fn builtin() -> Conditions {
    Conditions::default()
        .with(Arc::new(time::Time))
        .with(Arc::new(file::Files))
        .with(Arc::new(sql::Sql::default()))
        .with(Arc::new(http::Web::default()))
        .with(Arc::new(runs::Runs))
        .with(Arc::new(several::AnyCondition))
        .with(Arc::new(several::AllConditions))
}
