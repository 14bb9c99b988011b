//! Favorite DAGs of users.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Adds a favorite of a user. Returns false if the DAG was a favorite already, or if the DAG or the user does not
/// exist.
#[boxed]
pub async fn add_favorite(db: &mut PgConnection, user: &str, dag_id: &str) -> StoreResult<bool> {
    let added = sqlx::query!(
        "insert into favorite (user_name, dag_id) select u.name, d.dag_id from api_user u, dag d
        where u.name = $1 and d.dag_id = $2 on conflict do nothing",
        user,
        dag_id
    );
    Ok(added.execute(db).await?.rows_affected() == 1)
}

/// Removes a favorite of a user. Returns false if the DAG was not a favorite.
#[boxed]
pub async fn remove_favorite(db: &mut PgConnection, user: &str, dag_id: &str) -> StoreResult<bool> {
    let gone = sqlx::query!("delete from favorite where user_name = $1 and dag_id = $2", user, dag_id);
    Ok(gone.execute(db).await?.rows_affected() == 1)
}

/// Returns at most `most` favorites of a user.
#[boxed]
pub async fn favorites(db: &mut PgConnection, user: &str, most: i64) -> StoreResult<Vec<String>> {
    let found =
        sqlx::query_scalar!("select dag_id from favorite where user_name = $1 order by dag_id limit $2", user, most);
    Ok(found.fetch_all(db).await?)
}

#[boxed]
pub async fn is_favorite(db: &mut PgConnection, user: &str, dag_id: &str) -> StoreResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from favorite where user_name = $1 and dag_id = $2) as "found!""#,
        user,
        dag_id
    );
    Ok(found.fetch_one(db).await?)
}
