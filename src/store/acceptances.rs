//! The short way of the commonest outcome: what was accepted is written by a single statement, which outside of a transaction
//! is a commit of its own and one round trip. The attempt gets no row of its own: what it was stands in the delivery's row.
//!
//! Not here: all other outcomes, and an acceptance that comes late, when the delivery isn't `sending` any more (`settles`).

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{
    Connection, StoreError,
    settles::{Settle, code, column},
    transitions::{Writer, minute},
};
use crate::domain::{
    delivery::Outcome,
    id::{DeliveryId, WorkspaceId},
};

/// Write those of these outcomes that are `accepted`, by a single statement: attempts, states and counters alike. Answers the
/// deliveries that were moved; the rest is for [`settles::commit`](super::settles::commit).
///
/// Outside of a transaction it is a commit of its own. Doing it again changes nothing.
pub async fn commit(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    settles: &[Settle],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let writer = writer.into();
    let rows: Vec<_> = settles.iter().filter(|settle| settle.outcome == Outcome::Accepted).collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let moved = sqlx::query_scalar!(
        "with moved as (
             update deliveries d
             set state = 'accepted', due_at = null, updated_at = $3, reason = null, reason_text = null,
                 accepted_code = x.code, accepted_enhanced = x.enhanced, accepted_text = x.text, accepted_tls = x.tls,
                 accepted_ms = x.duration_ms, accepted_by_node = $2
             from unnest($4::uuid[], $5::int[], $6::smallint[], $7::text[], $8::text[], $9::text[], $10::int[])
                  as x (id, attempt, code, enhanced, text, tls, duration_ms)
             where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt and d.state = 'sending'
             returning d.id, d.campaign_id, d.provider, d.relay_id
         ), counted as (
             insert into transitions as t
                 (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id, n)
             select $1, campaign_id, $11, provider, relay_id, 'sending', 'accepted', '', $12, count(*) from moved
             group by campaign_id, provider, relay_id order by campaign_id, provider collate \"C\", relay_id
             on conflict (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id)
             do update set n = t.n + excluded.n
         )
         select id from moved",
        workspace.0,
        writer.node.0,
        now,
        &column(&rows, |settle| settle.delivery.0),
        &column(&rows, |settle| settle.attempt),
        &column(&rows, |settle| code(settle)) as &[Option<i16>],
        &column(&rows, |settle| settle.enhanced.as_deref()) as &[Option<&str>],
        &column(&rows, |settle| settle.text.as_str()) as &[&str],
        &column(&rows, |settle| settle.tls.as_deref()) as &[Option<&str>],
        &column(&rows, |settle| settle.duration_ms),
        minute(now),
        writer.key()
    )
    .fetch_all(connection)
    .await?;
    Ok(moved.into_iter().map(DeliveryId).collect())
}
