//! The installation itself: which signing key this database was set up with.
//!
//! Not here: the keys (`keyring`), what a wrong one means (`app`).

use super::{Connection, StoreError};

/// The fingerprint of the signing key, or `None` before the first start.
pub async fn fingerprint(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!("select key_fingerprint from installation").fetch_optional(connection).await?)
}

/// Record the fingerprint of a first start; the one that holds afterwards, which is another node's if that was quicker.
pub async fn record_fingerprint(connection: &mut Connection, fingerprint: &str) -> Result<String, StoreError> {
    sqlx::query!(
        "insert into installation (key_fingerprint) values ($1) on conflict (singleton) do nothing",
        fingerprint
    )
    .execute(&mut *connection)
    .await?;
    Ok(sqlx::query_scalar!("select key_fingerprint from installation").fetch_one(connection).await?)
}

/// Replace the fingerprint `known` when another key signs from now on; nothing happens if it is no longer that one.
pub async fn replace_fingerprint(connection: &mut Connection, known: &str, new: &str) -> Result<(), StoreError> {
    sqlx::query!("update installation set key_fingerprint = $2 where key_fingerprint = $1", known, new)
        .execute(connection)
        .await?;
    Ok(())
}
