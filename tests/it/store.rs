//! The floor of the store: connections and transactions.

use std::{pin::pin, task::Poll, time::Duration};

use postrider::store::Store;

use crate::support::TestDatabase;

#[tokio::test]
async fn a_caller_that_goes_away_while_a_transaction_opens_leaves_none_behind() {
    let database = TestDatabase::new().await;
    let store = Store::open(&database.url(), 1, Duration::from_secs(30)).unwrap();
    store.ping().await.unwrap();
    for n_polls in 1..30 {
        let mut begin = pin!(store.begin());
        let mut n_left = n_polls;
        let begun = std::future::poll_fn(|context| {
            if n_left == 0 {
                return Poll::Ready(false);
            }
            n_left -= 1;
            begin.as_mut().poll(context).map(|begun| begun.is_ok())
        });
        begun.await;
    }
    // The one connection of the pool: what it does commits by itself, or another one doesn't see it.
    let mut connection = store.acquire().await.unwrap();
    let now = chrono::Utc::now();
    postrider::store::workspaces::create(&mut connection, postrider::domain::id::WorkspaceId::new(), "w", now).await.unwrap();
    let seen: i64 = sqlx::query_scalar("select count(*) from workspaces").fetch_one(database.pool()).await.unwrap();
    assert_eq!(seen, 1, "the pool gave out a connection with an open transaction");
}
