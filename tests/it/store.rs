//! The floor of the store: connections and transactions.

use std::{pin::pin, task::Poll, time::Duration};

use postrider::store::{Store, workspaces};

use crate::support::TestDatabase;

#[tokio::test]
async fn a_caller_that_goes_away_while_a_transaction_opens_leaves_none_behind() {
    let database = TestDatabase::new().await;
    let store = Store::open(&database.url(), 1, Duration::from_secs(30)).unwrap();
    store.ping().await.unwrap();
    for n_polls in 1..=4 {
        {
            let (mut begin, mut n_left) = (pin!(store.begin()), n_polls);
            std::future::poll_fn(|context| {
                n_left -= 1;
                let is_over = begin.as_mut().poll(context).is_ready();
                if is_over || n_left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        // On the pool's one connection: it commits by itself, or nobody else sees it.
        let mut connection = store.acquire().await.unwrap();
        workspaces::insert(&mut connection, "w", chrono::Utc::now()).await.unwrap();
        drop(connection);
        let n_seen: i64 =
            sqlx::query_scalar("select count(*) from workspaces").fetch_one(database.pool()).await.unwrap();
        assert_eq!(n_seen, n_polls, "the pool gave out a connection with an open transaction");
    }
}

#[tokio::test]
async fn a_transaction_that_stands_still_is_not_held_open_for_ever() {
    let database = TestDatabase::new().await;
    let store = Store::open(&database.url(), 1, Duration::from_secs(30)).unwrap();
    for store in [store.beside(1), store] {
        let mut connection = store.acquire().await.unwrap();
        let limit: String =
            sqlx::query_scalar("show idle_in_transaction_session_timeout").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(limit, "15s");
    }
}
