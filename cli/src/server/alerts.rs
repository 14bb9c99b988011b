//! Alerts, at the database or over the API.

use super::Server;
use orch_binary::failure::Failure;
use orch_binary::session::did_in_and_hint;
use orch_core::spec::Notifier;
use orch_store::alert::{AlertFilter, AlertRow, Retry, add_test_alert, alert, list_alerts, retry_alert};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::Connection as _;

impl Server {
    /// Newest first.
    pub(crate) async fn alerts(&mut self, filter: &AlertFilter, most: i64) -> Result<Vec<AlertRow>, Failure> {
        match self {
            Server::Database(session) => Ok(list_alerts(&mut session.db, filter, (0, most)).await?),
            Server::Api(api) => api.alerts(filter, most),
        }
    }

    pub(crate) async fn alert(&mut self, id: i64) -> Result<Option<AlertRow>, Failure> {
        match self {
            Server::Database(session) => Ok(alert(&mut session.db, id).await?),
            Server::Api(api) => api.alert(id),
        }
    }

    pub(crate) async fn retry_alert(&mut self, id: i64) -> Result<Retry, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.retry_alert(id),
        };
        let mut transaction = session.db.begin().await?;
        let done = retry_alert(&mut transaction, id).await?;
        if done == Retry::Due {
            let extra = Some(json!({ "alert": id }));
            let deed = Deed { event: "retry_alert", extra, ..Deed::default() };
            did_in_and_hint(&mut transaction, &deed, &[Hint::Alert]).await?;
        }
        transaction.commit().await?;
        Ok(done)
    }

    /// Gives its id.
    pub(crate) async fn test_alert(&mut self, notifier: Notifier, by: &str) -> Result<i64, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.test_alert(&notifier),
        };
        let mut transaction = session.db.begin().await?;
        let extra = Some(json!({ "connection": notifier.connection }));
        let id = add_test_alert(&mut transaction, notifier, by).await?;
        let deed = Deed { event: "test_alert", extra, ..Deed::default() };
        did_in_and_hint(&mut transaction, &deed, &[Hint::Alert]).await?;
        transaction.commit().await?;
        Ok(id)
    }
}
