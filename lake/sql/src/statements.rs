//! Executes SQL over rows from any source, inside the process of a pipeline task. There are no limits on queries. A
//! running statement holds only the state of its joins and aggregations in memory.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use orch_lake::batches::Batches;
use orch_sdk::task::{TaskResult, fatal};
use std::fmt;
use std::sync::Arc;

/// Function that opens a new stream of the rows of a view.
pub type BatchSource = Arc<dyn Fn() -> BoxFuture<'static, TaskResult<Batches>> + Send + Sync>;

/// Registered views, which SQL statements can read.
pub struct Statements {
    context: SessionContext,
}

impl Default for Statements {
    /// Uses a single thread, because the other threads of the process belong to other tasks.
    fn default() -> Statements {
        Statements { context: SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1)) }
    }
}

impl Statements {
    /// Registers a source as a view with this name.
    ///
    /// # Errors
    /// Returns an error if the name is already used.
    pub fn view(&self, name: &str, schema: SchemaRef, open: BatchSource) -> TaskResult<()> {
        let table = StreamingTable::try_new(schema.clone(), vec![Arc::new(View { schema, open })])
            .map_err(view_or_statement_error)?;
        self.context.register_table(name, Arc::new(table)).map_err(view_or_statement_error)?;
        Ok(())
    }

    /// Registers a statement as a view for later statements.
    ///
    /// # Errors
    /// Returns an error if the statement is invalid or the name is already used.
    pub async fn keep(&self, name: &str, statement: &str) -> TaskResult<()> {
        let frame = self.context.sql(statement).await.map_err(view_or_statement_error)?;
        self.context.register_table(name, frame.into_view()).map_err(view_or_statement_error)?;
        Ok(())
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// Returns an error if the statement is invalid. The stream fails if a row cannot be read or computed.
    pub async fn rows(&self, statement: &str) -> TaskResult<Batches> {
        let frame = self.context.sql(statement).await.map_err(view_or_statement_error)?;
        let stream = frame.execute_stream().await.map_err(view_or_statement_error)?;
        Ok(Batches::new(stream.schema(), stream.map_err(view_or_statement_error)))
    }
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").finish_non_exhaustive()
    }
}

struct View {
    schema: SchemaRef,
    open: BatchSource,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for View {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = (self.open)().into_stream().try_flatten();
        let rows = rows.map_err(|error| DataFusionError::External(Box::new(Unread(error))));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

/// Wraps an error of a view's source so that it passes through DataFusion unchanged.
#[derive(Debug)]
struct Unread(anyhow::Error);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unread {}

/// Returns the original error if the source of a view failed. All other errors are caused by the statement and are
/// fatal, because a retry cannot succeed.
fn view_or_statement_error(error: DataFusionError) -> anyhow::Error {
    match error {
        DataFusionError::External(error) => match error.downcast::<Unread>() {
            Ok(unread) => unread.0,
            Err(error) => anyhow::Error::from_boxed(error),
        },
        DataFusionError::Context(_, inner) => view_or_statement_error(*inner),
        DataFusionError::Shared(error) => fatal(error.to_string()),
        other => fatal(other.strip_backtrace()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    fn numbers() -> (SchemaRef, BatchSource) {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]);
        let batch = batch.expect("a batch");
        (schema, Arc::new(move || std::future::ready(Ok(batch.clone().into())).boxed()))
    }

    #[tokio::test]
    async fn a_statement_sees_views_and_what_was_kept() {
        let statements = Statements::default();
        let (schema, open) = numbers();
        statements.view("numbers", schema, open).expect("a view");
        statements.keep("even", "SELECT n FROM numbers WHERE n % 2 = 0").await.expect("a view of a view");
        let sum = "SELECT (SELECT sum(n) FROM numbers) + (SELECT count(*) FROM even) AS sum";
        let rows = statements.rows(sum).await.expect("a statement").collect().await.expect("rows");
        assert_eq!(rows.column(0).as_ref(), &Int64Array::from(vec![7]));
        assert!(statements.rows("SELECT n FROM odd").await.is_err_and(|error| error.to_string().contains("odd")));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_the_error_of_its_source() {
        let statements = Statements::default();
        let (schema, _) = numbers();
        let open: BatchSource = Arc::new(|| std::future::ready(Err(anyhow::anyhow!("the object is gone"))).boxed());
        statements.view("numbers", schema, open).expect("a view");
        let rows = statements.rows("SELECT sum(n) FROM numbers").await.expect("a statement").collect().await;
        assert_eq!(rows.expect_err("it is gone").to_string(), "the object is gone");
    }
}
