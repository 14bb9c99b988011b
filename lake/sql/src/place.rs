//! The place of a query among those that may run: taken until the last task of it has really ended.
//!
//! A query that is cancelled is told so, and looks up when it has computed what it is at. Until then it takes memory and
//! a processor, so its place is not free. `DataFusion` computes parts of a query in tasks of its own; each keeps the
//! place of the task that began it.

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::future::BoxFuture;
use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

type Place = Arc<OwnedSemaphorePermit>;

tokio::task_local! {
    static PLACE: Place;
}

/// Does the work of a query at its place.
pub(crate) async fn at<T>(place: OwnedSemaphorePermit, work: impl Future<Output = T>) -> T {
    // Only the first sets it; a process has one.
    set_join_set_tracer(&TASKS).ok();
    PLACE.scope(Arc::new(place), work).await
}

static TASKS: Tasks = Tasks;

/// What `DataFusion` calls for each task that it begins.
struct Tasks;

impl JoinSetTracer for Tasks {
    fn trace_future(&self, work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match PLACE.try_with(Place::clone) {
            Ok(place) => Box::pin(PLACE.scope(place, work)),
            Err(_) => work,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        match PLACE.try_with(Place::clone) {
            Ok(place) => Box::new(move || PLACE.sync_scope(place, work)),
            Err(_) => work,
        }
    }
}
