//! What every story needs to be told: a database of its own.
//!
//! Peers live beside it in files of their own. There are no mocks here: what a test talks to is a socket or a Postgres.

pub mod app;
pub mod campaign;
pub mod contract;
mod database;
pub mod dns_peer;
pub mod engine;
mod gate;
pub mod https_peer;
pub mod imap_peer;
mod listener;
pub mod pop3_peer;
pub mod postgres_line;
pub mod process;
pub mod service;
pub mod smtp_peer;
pub mod world;

pub use database::TestDatabase;
pub use gate::Gate;
pub use process::Process;

#[tokio::test]
async fn each_test_gets_a_migrated_database_of_its_own() {
    let (first, second) = (TestDatabase::new().await, TestDatabase::new().await);
    let other = sqlx::PgPool::connect(&first.url()).await.unwrap();
    let names: Vec<String> = futures::future::join_all(
        [first.pool(), second.pool(), &other]
            .map(|pool| async move { sqlx::query_scalar("SELECT current_database()").fetch_one(pool).await.unwrap() }),
    )
    .await;
    assert_ne!(names[0], names[1]);
    assert_eq!(names[0], names[2]);
    let n_applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
        .fetch_one(first.pool())
        .await
        .unwrap();
    let n_files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sql"))
        .count();
    assert_eq!(n_applied, n_files as i64);
}
