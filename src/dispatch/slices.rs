//! Renewing this node's slices of the limits that it uses: soon for a new limit, else often enough that none runs out.
//!
//! Not here: dividing a limit (`domain::slice`), the table (`store::slices`), spending a slice (`relay::Throttle`).

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    limits::{Limit, Limits},
    link::Link,
    settings::Settings,
};
use crate::{
    domain::{id::WorkspaceId, slice::Grant},
    relay::Throttle,
    store::slices::{self, Wanted},
};

/// A limit that nobody holds or asked for in so long gets no slice any more.
const IDLE: Duration = Duration::from_secs(60);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// Two new limits are asked for together.
const TOGETHER: Duration = Duration::from_millis(2);
/// Who got less than is fair asks again so soon: others give up what is more than fair when they next ask.
const SOON: Duration = Duration::from_millis(500);

/// Renew for ever. Wakes `work` when there is more to spend.
pub(super) async fn renew(limits: &Limits, settings: &Settings, mut link: Link, work: &Notify) {
    let every = settings.lease / 6;
    let mut next_at: HashMap<WorkspaceId, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = limits.wanted() => tokio::time::sleep(TOGETHER).await,
            () = tokio::time::sleep(SOON.min(every / 2)) => {}
        }
        let now = Instant::now();
        let mut by_workspace: HashMap<WorkspaceId, Vec<(Limit, Arc<Throttle>)>> = HashMap::new();
        for ((workspace, limit), throttle) in limits.in_use(now, IDLE) {
            by_workspace.entry(workspace).or_default().push((limit, throttle));
        }
        next_at.retain(|workspace, _| by_workspace.contains_key(workspace));
        for (workspace, used) in by_workspace {
            let is_fresh = next_at.get(&workspace).is_some_and(|at| *at > now);
            if is_fresh && used.iter().all(|(_, throttle)| throttle.n_parts(now) > 0) {
                continue;
            }
            let mut got = ask(&mut link, settings, workspace, &used).await;
            if got == Some(Got::MoreThanFair) {
                // Said once more, it is free for the others.
                got = ask(&mut link, settings, workspace, &used).await;
            }
            match got {
                Some(Got::Fair | Got::MoreThanFair) => drop(next_at.insert(workspace, now + every)),
                Some(Got::Less) => drop(next_at.insert(workspace, now + SOON.min(every))),
                None => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            work.notify_one();
        }
    }
}

/// What came of asking for slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Got {
    /// What is fair, of each.
    Fair,
    /// More than is fair of some, which it spends no more.
    MoreThanFair,
    /// Less than is fair of some, for others still have it.
    Less,
}

/// Renew the slices of one workspace. None when that failed: what was leased runs out by itself, on both sides.
async fn ask(
    link: &mut Link,
    settings: &Settings,
    workspace: WorkspaceId,
    used: &[(Limit, Arc<Throttle>)],
) -> Option<Got> {
    // A lease runs from when it was asked for, at the earliest; the rest is for clocks that differ.
    let asked_at = Instant::now();
    let until = asked_at.checked_add(settings.lease.mul_f64(0.9))?;
    let wanted = |(limit, throttle): &(Limit, Arc<Throttle>)| Wanted {
        key: limit.key(),
        holding: throttle.n_parts(asked_at),
        n_needed: throttle.n_needed(asked_at),
    };
    let wanted: Vec<_> = used.iter().map(wanted).collect();
    let granted = link.within(settings.lease / 3, async |connection, node| {
        slices::renew(connection, workspace, node, &wanted, settings.lease.as_secs_f64()).await
    });
    match granted.await {
        Ok(grants) => {
            for ((_, throttle), grant) in used.iter().zip(&grants) {
                throttle.set_slice(grant.n_parts.min(grant.n_fair), until);
            }
            let got = |grant: &Grant| match grant.n_parts.cmp(&grant.n_fair) {
                Ordering::Less => Got::Less,
                Ordering::Equal => Got::Fair,
                Ordering::Greater => Got::MoreThanFair,
            };
            Some(grants.iter().map(got).max().unwrap_or(Got::Fair))
        }
        Err(error) => {
            tracing::debug!(%error, %workspace, "slices of limits could not be renewed");
            None
        }
    }
}

/// Give back what this node leased: it ends.
pub(super) async fn release(limits: &Limits, link: &mut Link) {
    let mut workspaces: Vec<_> =
        limits.in_use(Instant::now(), IDLE).into_iter().map(|((workspace, _), _)| workspace).collect();
    workspaces.sort_unstable();
    workspaces.dedup();
    for workspace in workspaces {
        let done = link.within(PAUSE * 10, async |connection, node| slices::release(connection, workspace, node).await);
        if let Err(error) = done.await {
            tracing::debug!(%error, %workspace, "slices of limits could not be given back; they run out by themselves");
            return;
        }
    }
}
