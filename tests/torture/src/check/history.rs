//! Verifies that the stored state follows from the stored history, like `orch doctor --verify-history`.

use orch_store::doctor::{WhichHistory, verify_history};
use orch_store::version::Versions;
use sqlx::PgPool;

pub(super) async fn differences(pool: &PgPool) -> Vec<String> {
    let mut db = pool.acquire().await.expect("the server is up again");
    let (mut versions, which, mut after, mut found) = (Versions::default(), WhichHistory::default(), None, Vec::new());
    loop {
        let page = verify_history(&mut db, &mut versions, &which, after).await.expect("a history that can be read");
        let Some(last) = page.last() else { return found };
        after = Some(last.id);
        let wrong = page.iter().filter(|run| !run.differences.is_empty());
        found.extend(wrong.map(|run| format!("{} {}: {:?}", run.dag_id, run.run_id, run.differences)));
    }
}
