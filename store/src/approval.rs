//! Questions that task attempts ask users, and the users' answers. A question is open while its wait exists (a row of
//! kind `answer` in `waiting`). A clear, a mark or the end of the run deletes the wait, which withdraws the question.
//! The first answer wins, because it ends the wait.

mod search;

pub use search::{APPROVALS, by};

use crate::list::Search;
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::approval::{ApprovalInput, Question};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// State of a question that was asked to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Open,
    Answered,
    /// No user answered in time. The default answers were used, if there are any.
    TimedOut,
    /// The question was withdrawn, because its instance was cleared or marked, or its run ended.
    TakenBack,
}

impl Stand {
    pub const fn as_str(self) -> &'static str {
        match self {
            Stand::Open => "open",
            Stand::Answered => "answered",
            Stand::TimedOut => "timed_out",
            Stand::TakenBack => "taken_back",
        }
    }
}

/// A question of an attempt, with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    pub attempt: Uuid,
    pub run: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub try_no: i16,
    pub question: Question,
    pub asked_at: DateTime<Utc>,
    pub give_up_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub given: Option<ApprovalInput>,
    pub given_by: Option<String>,
    pub stand: Stand,
}

#[derive(sqlx::FromRow)]
struct Columns {
    attempt: Uuid,
    run: Uuid,
    dag_id: String,
    run_id: String,
    task_id: String,
    map_index: i32,
    try_no: i16,
    question: String,
    asked_at: DateTime<Utc>,
    give_up_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    given: Option<String>,
    given_by: Option<String>,
    timed_out: bool,
    is_open: bool,
}

impl Columns {
    fn row(self) -> StoreResult<ApprovalRow> {
        let stand = match (self.is_open, self.timed_out, self.ended_at.is_some()) {
            (_, true, _) => Stand::TimedOut,
            (_, _, true) => Stand::Answered,
            (true, ..) => Stand::Open,
            (false, ..) => Stand::TakenBack,
        };
        Ok(ApprovalRow {
            question: read(self.attempt, &self.question)?,
            given: self.given.map(|given| read(self.attempt, &given)).transpose()?,
            attempt: self.attempt,
            run: self.run,
            dag_id: self.dag_id,
            run_id: self.run_id,
            task_id: self.task_id,
            map_index: self.map_index,
            try_no: self.try_no,
            asked_at: self.asked_at,
            give_up_at: self.give_up_at,
            ended_at: self.ended_at,
            given_by: self.given_by,
            stand,
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(attempt: Uuid, text: &str) -> StoreResult<T> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("question of try `{attempt}`: {error}")))
}

/// Returns the question of an attempt.
#[boxed]
pub async fn approval(db: &mut PgConnection, attempt: Uuid) -> StoreResult<Option<ApprovalRow>> {
    APPROVALS.first(db, &Search::default().and(by::ATTEMPT.is(attempt))).await
}

/// Returns the question that an instance is waiting for now.
#[boxed]
pub async fn open_question(
    db: &mut PgConnection,
    run: Uuid,
    task_id: &str,
    map_index: i32,
) -> StoreResult<Option<ApprovalRow>> {
    let attempt = sqlx::query_scalar!(
        "select a.attempt from approval a where a.run = $1 and a.task_id = $2 and a.map_index = $3
          and exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer')",
        run,
        task_id,
        map_index
    );
    match attempt.fetch_optional(&mut *db).await? {
        Some(attempt) => approval(db, attempt).await,
        None => Ok(None),
    }
}

/// An open question, without the id of the attempt that asks it.
#[derive(Debug, Clone)]
pub struct OpenQuestion {
    pub question: Question,
    pub asked_at: DateTime<Utc>,
}

/// Returns at most `most` open questions, newest first.
#[boxed]
pub async fn open_questions(db: &mut PgConnection, most: i64) -> StoreResult<Vec<OpenQuestion>> {
    let rows = sqlx::query!(
        r#"select a.attempt, a.question::text as "question!", a.asked_at from approval a
        where exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer')
        order by a.asked_at desc limit $1"#,
        most
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    rows.map(|row| Ok(OpenQuestion { question: read(row.attempt, &row.question)?, asked_at: row.asked_at })).collect()
}

/// Records a valid answer (`Question::answered`) and returns its timestamp. Returns `None` if another answer came
/// first, the time limit has passed, or the question was withdrawn. The caller commits, and then sends `Hint::Due` (a
/// wake-up signal).
#[boxed]
pub async fn answer_approval(
    db: &mut PgConnection,
    attempt: Uuid,
    given: &ApprovalInput,
    by: &str,
) -> StoreResult<Option<DateTime<Utc>>> {
    let text = serde_json::to_string(given).map_err(|error| StoreError::corrupt(error.to_string()))?;
    let at = sqlx::query_file_scalar!("queries/approval/answer.sql", attempt, text, by);
    Ok(at.fetch_optional(db).await?)
}
