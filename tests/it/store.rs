//! The floor of the store: connections and transactions.

use std::{pin::pin, task::Poll, time::Duration};

use postrider::{
    domain::id::{DeliveryId, WorkspaceId},
    store::{Store, soft_bounces, workspaces},
};

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

#[tokio::test]
async fn of_two_who_count_the_last_soft_bounces_of_an_address_at_the_same_time_the_second_sees_that_it_is_enough() {
    let database = TestDatabase::new().await;
    let store = Store::open(&database.url(), 3, Duration::from_secs(30)).unwrap();
    let now = chrono::Utc::now();
    let mut first = store.begin().await.unwrap();
    let workspace = WorkspaceId(workspaces::insert(&mut first, "w", now).await.unwrap().id);
    sqlx::query("update workspaces set soft_bounce_count = 2").execute(&mut *first).await.unwrap();
    postrider::store::commit(first).await.unwrap();

    let keys: Vec<String> = (0..300).map(|n| format!("full{n}@x.test")).collect();
    let failed = |keys: &[String]| keys.iter().map(|key| (key.clone(), DeliveryId::new())).collect::<Vec<_>>();
    let count = async |transaction: &mut _, failed: &[(String, DeliveryId)]| {
        let failed: Vec<_> = failed.iter().map(|(key, delivery)| (key.as_str(), *delivery)).collect();
        soft_bounces::count(transaction, workspace, &failed, now).await.unwrap()
    };
    let mut first = store.begin().await.unwrap();
    assert!(count(&mut first, &failed(&keys)).await.is_empty());
    let mut second = store.begin().await.unwrap();
    let reversed = failed(&keys.iter().rev().cloned().collect::<Vec<_>>());
    let mut counting = pin!(count(&mut second, &reversed));
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (
                   select oid from pg_database where datname = current_database())";
    loop {
        let n_waiting = sqlx::query_scalar::<_, i64>(sql).fetch_one(database.pool());
        tokio::select! {
            _ = &mut counting => panic!("it did not wait for the other"),
            n_waiting = n_waiting => if n_waiting.unwrap() == 1 { break },
        }
    }
    postrider::store::commit(first).await.unwrap();
    assert_eq!(counting.await.len(), 300);
}
