//! What became of attempts, written in groups: attempt row, state, counters, suppression and event in one transaction.
//!
//! A settle compares the attempt and not the lease: what is known is never thrown away, so a late outcome is still
//! written while the delivery names that attempt and is `sending` or `unknown`. Where a report came first (`bounced`),
//! the settle only completes the attempt. Not here: the short way of those that were accepted (`rounds`), how a reply
//! becomes an outcome (`relay`), when to retry (`domain`).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    Connection, StoreError, events, soft_bounces,
    suppressions::{self, NewSuppression},
    transitions::{Transition, Transitions, Writer},
};
use crate::domain::{
    delivery::{DeliveryState, Outcome},
    id::{CampaignId, DeliveryId, NodeId, RecipientId, RelayId, WorkspaceId},
    retry::Retry,
    suppression::SuppressionReason,
};

/// The outcome of one attempt.
#[derive(Debug, Clone)]
pub struct Settle {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// To whom.
    pub recipient: RecipientId,
    /// What identifies the address.
    pub address_key: String,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: String,
    /// By which relay.
    pub relay: RelayId,
    /// Which attempt (the intent's `attempt_before + 1`).
    pub attempt: i32,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the session stood, as `attempts.phase` has it.
    pub phase: &'static str,
    /// The reply's code, if there was a reply.
    pub code: Option<u16>,
    /// The reply's enhanced code.
    pub enhanced: Option<String>,
    /// The reply's own words, or the cause.
    pub text: String,
    /// TLS version and cipher, if any.
    pub tls: Option<String>,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// From MAIL FROM to the reply.
    pub duration_ms: i32,
    /// The attempt was the resend of an `unknown`: if nothing of it was submitted it is `unknown` again, as before, and
    /// its resend isn't used up.
    pub was_unknown: bool,
    /// Bounce class of a rejection or deferral, else empty.
    pub class: &'static str,
    /// For `deferred`: what comes next. For `unknown`: `At` resends once then, `Expire` leaves it unknown.
    /// For `not_submitted`: `At` waits in the due queue, `Expire` gives up; none keeps it in its batch (or, where it
    /// was `unknown`, leaves it so).
    pub next: Option<Retry>,
    /// The reply condemns the address: suppress it in the workspace.
    pub condemned: bool,
    /// The reply says that the recipient can't be reached now: if the delivery ends with it, it counts towards the soft
    /// failures that the workspace bears of an address.
    pub soft: bool,
}

/// A delivery that ends without an attempt: rendering failed, not to be mailed, too old.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: String,
    /// The state it was claimed in: `queued` or `deferred`.
    pub from: DeliveryState,
    /// `failed`, `suppressed`, `expired` or `cancelled`.
    pub to: DeliveryState,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub reason_text: String,
}

struct Target {
    state: DeliveryState,
    due_at: Option<DateTime<Utc>>,
    leaves_batch: bool,
    /// It is `unknown` as before, and its resend was none.
    goes_back: bool,
    /// States passed through after `sending`, each counted.
    path: Vec<DeliveryState>,
}

fn target(settle: &Settle) -> Target {
    let one = |state| Target { state, due_at: None, leaves_batch: false, goes_back: false, path: vec![state] };
    match (settle.outcome, settle.next) {
        // Whether the earlier attempt was taken is still not known.
        (Outcome::NotSubmitted | Outcome::Suppressed, next) if settle.was_unknown => Target {
            due_at: match next {
                Some(Retry::At(at)) => Some(at),
                _ => None,
            },
            leaves_batch: true,
            goes_back: true,
            ..one(DeliveryState::Unknown)
        },
        (Outcome::Deferred, Some(Retry::At(at))) => {
            Target { due_at: Some(at), leaves_batch: true, ..one(DeliveryState::Deferred) }
        }
        (Outcome::Deferred, _) => Target {
            state: DeliveryState::Expired,
            due_at: None,
            leaves_batch: false,
            goes_back: false,
            path: vec![DeliveryState::Deferred, DeliveryState::Expired],
        },
        (Outcome::Unknown, Some(Retry::At(at))) => {
            Target { due_at: Some(at), leaves_batch: true, ..one(DeliveryState::Unknown) }
        }
        (Outcome::Unknown, _) => Target { leaves_batch: true, ..one(DeliveryState::Unknown) },
        (Outcome::NotSubmitted, Some(Retry::At(at))) => {
            Target { due_at: Some(at), leaves_batch: true, ..one(DeliveryState::Queued) }
        }
        (Outcome::NotSubmitted, Some(Retry::Expire)) => Target {
            state: DeliveryState::Expired,
            due_at: None,
            leaves_batch: false,
            goes_back: false,
            path: vec![DeliveryState::Queued, DeliveryState::Expired],
        },
        (outcome, _) => one(outcome.state()),
    }
}

pub(super) fn column<'a, T>(rows: &[&'a Settle], pick: impl Fn(&'a Settle) -> T) -> Vec<T> {
    rows.iter().map(|settle| pick(settle)).collect()
}

pub(super) fn code(settle: &Settle) -> Option<i16> {
    settle.code.and_then(|code| i16::try_from(code).ok())
}

/// Write these outcomes, whatever they are, in the caller's transaction. Answers the deliveries whose state was changed; of the others only the attempt
/// was completed.
pub async fn commit(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    settles: &[Settle],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let writer = writer.into();
    let settles: Vec<&Settle> = settles.iter().collect();
    write_attempts(connection, workspace, writer.node, &settles).await?;
    let targets: Vec<Target> = settles.iter().map(|settle| target(settle)).collect();
    let mut before = move_from(connection, workspace, &settles, &targets, DeliveryState::Sending, now).await?;
    if before.len() < settles.len() {
        before.extend(move_from(connection, workspace, &settles, &targets, DeliveryState::Unknown, now).await?);
    }
    let mut transitions = Transitions::new();
    let mut failures = Vec::new();
    for (settle, target) in settles.iter().copied().zip(&targets) {
        let Some(from) = before.get(&settle.delivery.0) else { continue };
        count_path(&mut transitions, settle, *from, target);
        if target.state == DeliveryState::Rejected || target.state == DeliveryState::Expired {
            failures.push(settle);
        }
    }
    record_failures(connection, workspace, &failures, now).await?;
    transitions.write(connection, workspace, writer, now).await?;
    Ok(before.into_keys().map(DeliveryId).collect())
}

fn count_path(transitions: &mut Transitions, settle: &Settle, from: DeliveryState, target: &Target) {
    let mut from = from;
    for to in &target.path {
        // A late `unknown` of an `unknown` moves nothing.
        if from != *to {
            let class = if *to == DeliveryState::Rejected { settle.class } else { "" };
            let step = Transition {
                campaign: settle.campaign,
                provider: &settle.provider,
                relay: Some(settle.relay),
                from: Some(from),
                to: *to,
                class,
            };
            transitions.count(step, 1);
        }
        from = *to;
    }
}

async fn move_from(
    connection: &mut Connection,
    workspace: WorkspaceId,
    settles: &[&Settle],
    targets: &[Target],
    from: DeliveryState,
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, DeliveryState>, StoreError> {
    // From `unknown` only what is known may follow: the wait for a resend is over then, and nothing goes back to queued.
    let known = |settle: &Settle| {
        from == DeliveryState::Sending
            || matches!(settle.outcome, Outcome::Accepted | Outcome::Deferred | Outcome::Rejected)
    };
    let rows: Vec<(&Settle, &Target)> =
        settles.iter().copied().zip(targets).filter(|(settle, _)| known(settle)).collect();
    let moved = sqlx::query_scalar!(
        "update deliveries d
         set state = x.state, due_at = x.due_at, updated_at = $9,
             reason = case when x.goes_back then d.reason else x.reason end,
             reason_text = case when x.goes_back then d.reason_text else x.reason_text end,
             n_resends = d.n_resends - x.goes_back::int,
             batch_id = case when x.leaves_batch then null else d.batch_id end
         from unnest($2::uuid[], $3::int[], $4::text[], $5::timestamptz[], $6::bool[], $7::text[], $8::text[],
                     $11::bool[])
              as x (id, attempt, state, due_at, leaves_batch, reason, reason_text, goes_back)
         where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt and d.state = $10
         returning d.id",
        workspace.0,
        &rows.iter().map(|(settle, _)| settle.delivery.0).collect::<Vec<_>>(),
        &rows.iter().map(|(settle, _)| settle.attempt).collect::<Vec<_>>(),
        &rows.iter().map(|(_, target)| target.state.as_str().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, target)| target.due_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &rows.iter().map(|(_, target)| target.leaves_batch).collect::<Vec<_>>(),
        &rows.iter().map(|(settle, _)| reason(settle)).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|(settle, _)| reason_text(settle)).collect::<Vec<_>>() as &[Option<String>],
        now,
        from.as_str(),
        &rows.iter().map(|(_, target)| target.goes_back).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    Ok(moved.into_iter().map(|id| (id, from)).collect())
}

fn reason(settle: &Settle) -> Option<String> {
    match settle.outcome {
        Outcome::Accepted => None,
        _ if settle.class.is_empty() => Some(settle.outcome.as_str().to_owned()),
        _ => Some(settle.class.to_owned()),
    }
}

fn reason_text(settle: &Settle) -> Option<String> {
    (settle.outcome != Outcome::Accepted).then(|| settle.text.clone())
}

async fn write_attempts(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    settles: &[&Settle],
) -> Result<(), StoreError> {
    // The rescue may have written the attempt as unknown already: what is known replaces that. What stands in the delivery's
    // row was written by `rounds`, and only the answer to that was lost.
    sqlx::query!(
        "insert into attempts as a (workspace_id, delivery_id, n, relay_id, node_id, outcome, phase, code, enhanced,
                                    text, tls, started_at, duration_ms)
         select $1, x.delivery_id, x.n, x.relay_id, $2, x.outcome, x.phase, x.code, x.enhanced, x.text, x.tls,
                x.started_at, x.duration_ms
         from unnest($3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::smallint[], $9::text[],
                     $10::text[], $11::text[], $12::timestamptz[], $13::int[])
              as x (delivery_id, n, relay_id, outcome, phase, code, enhanced, text, tls, started_at, duration_ms)
         where not exists (select from deliveries d where d.workspace_id = $1 and d.id = x.delivery_id and d.attempt = x.n
                                                      and d.accepted_ms is not null)
         on conflict (workspace_id, delivery_id, n) do update
         set relay_id = excluded.relay_id, node_id = excluded.node_id, outcome = excluded.outcome,
             phase = excluded.phase, code = excluded.code, enhanced = excluded.enhanced, text = excluded.text,
             tls = excluded.tls, started_at = excluded.started_at, duration_ms = excluded.duration_ms
         where a.outcome = 'unknown'",
        workspace.0,
        node.0,
        &settles.iter().map(|settle| settle.delivery.0).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.attempt).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.relay.0).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.outcome.as_str().to_owned()).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.phase.to_owned()).collect::<Vec<_>>(),
        &column(settles, code) as &[Option<i16>],
        &settles.iter().map(|settle| settle.enhanced.clone()).collect::<Vec<_>>() as &[Option<String>],
        &settles.iter().map(|settle| settle.text.clone()).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.tls.clone()).collect::<Vec<_>>() as &[Option<String>],
        &settles.iter().map(|settle| settle.started_at).collect::<Vec<_>>(),
        &settles.iter().map(|settle| settle.duration_ms).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Log these failures, and suppress the addresses that were condemned, or failed softly once too often.
async fn record_failures(
    connection: &mut Connection,
    workspace: WorkspaceId,
    failures: &[&Settle],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let events = column(failures, |settle| events::NewEvent {
        kind: if settle.outcome == Outcome::Rejected { "delivery.rejected" } else { "delivery.expired" },
        campaign: Some(settle.campaign),
        delivery: Some(settle.delivery),
        recipient: Some(settle.recipient),
        data: json!({"class": settle.class, "code": settle.code, "enhanced": settle.enhanced, "text": settle.text}),
    });
    events::append_all(connection, workspace, &events, now).await?;
    let soft = failures.iter().filter(|settle| settle.soft && !settle.condemned);
    let soft: Vec<_> = soft.map(|settle| (settle.address_key.as_str(), settle.delivery)).collect();
    let enough = soft_bounces::count(connection, workspace, &soft, now).await?;
    let is_enough = |settle: &Settle| settle.soft && enough.contains(&settle.address_key);
    let ended = failures.iter().copied().filter(|settle| settle.condemned || is_enough(settle));
    let suppressions = column(&ended.collect::<Vec<_>>(), |settle| NewSuppression {
        address_key: &settle.address_key,
        list: None,
        reason: if settle.condemned { SuppressionReason::HardBounce } else { SuppressionReason::SoftBounce },
        origin: json!({"kind": "reply", "delivery_id": settle.delivery, "text": settle.text}),
        expires_at: None,
    });
    suppressions::add_all(connection, workspace, &suppressions, now).await
}

/// End deliveries that never get to an attempt. Only those still in the state they were claimed in are changed.
pub async fn end(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    ended: &[Ended],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let done: HashSet<_> = sqlx::query_scalar!(
        "update deliveries d
         set state = x.to_state, reason = x.reason, reason_text = x.reason_text, due_at = null, updated_at = $7
         from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
              as x (id, from_state, to_state, reason, reason_text)
         where d.workspace_id = $1 and d.id = x.id and d.state = x.from_state and d.state in ('queued', 'deferred')
         returning d.id",
        workspace.0,
        &ended.iter().map(|one| one.delivery.0).collect::<Vec<_>>(),
        &ended.iter().map(|one| one.from.as_str().to_owned()).collect::<Vec<_>>(),
        &ended.iter().map(|one| one.to.as_str().to_owned()).collect::<Vec<_>>(),
        &ended.iter().map(|one| one.reason.clone()).collect::<Vec<_>>(),
        &ended.iter().map(|one| one.reason_text.clone()).collect::<Vec<_>>(),
        now
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(DeliveryId)
    .collect();
    let mut transitions = Transitions::new();
    for one in ended.iter().filter(|one| done.contains(&one.delivery)) {
        let step = Transition {
            campaign: one.campaign,
            provider: &one.provider,
            relay: None,
            from: Some(one.from),
            to: one.to,
            class: "",
        };
        transitions.count(step, 1);
    }
    transitions.write(connection, workspace, writer, now).await?;
    Ok(done)
}
