//! What becomes of a message on the server once its report is committed: moved, marked, left or deleted.
//!
//! The row says that it is filed after the server did it, so a reader that stops between the two does it again, which
//! changes nothing.

use chrono::{DateTime, TimeDelta, Utc};

use super::{error::ReportsError, fetching::Source, server::Server};
use crate::{
    domain::id::ReportId,
    mailbox::{Filing, MailboxError, Session},
    store::reports,
};

/// Messages filed in one step.
const N_FILED_MAX: i64 = 500;
/// The same of a maildrop, whose session ends with it.
const N_DELETED_MAX: i64 = 5_000;

/// File some of what is done with. Answers how many, and the session if it goes on: a maildrop's ends when something is
/// deleted. `folders` are all that are read.
pub(super) async fn file(
    source: Source<'_>,
    filing: &Filing,
    folders: &[String],
    server: Server,
    now: DateTime<Utc>,
) -> Result<(usize, Option<Server>), ReportsError> {
    let context = source.context;
    let until = match filing {
        Filing::Delete { after_days } => now - TimeDelta::days((*after_days).into()),
        Filing::Move { .. } | Filing::Mark { .. } | Filing::Leave => now,
    };
    let limit = if matches!(server, Server::Pop3(_)) { N_DELETED_MAX } else { N_FILED_MAX };
    let mut connection = context.store.acquire().await?;
    let unfiled = reports::unfiled(&mut connection, source.workspace, source.place(), until, limit).await?;
    drop(connection);
    if unfiled.is_empty() {
        return Ok((0, Some(server)));
    }
    let (ids, uids): (Vec<ReportId>, Vec<u32>) = unfiled.into_iter().unzip();
    let server = match (server, filing) {
        (Server::Imap(mut session), filing) => {
            touch(&mut session, filing, folders, &uids).await?;
            Some(Server::Imap(session))
        }
        (Server::Pop3(maildrop), Filing::Delete { .. }) => {
            maildrop.remove(&uids).await?;
            None
        }
        (server @ Server::Pop3(_), _) => Some(server),
    };
    let mut connection = context.store.acquire().await?;
    reports::filed(&mut connection, source.workspace, &ids, now).await?;
    Ok((ids.len(), server))
}

async fn touch(session: &mut Session, filing: &Filing, folders: &[String], uids: &[u32]) -> Result<(), MailboxError> {
    match filing {
        // Moved to where messages are read, it would be new again.
        Filing::Move { folder } if folders.iter().any(|read| is_same_folder(read, folder)) => Ok(()),
        Filing::Move { folder } => session.file(uids, folder).await,
        Filing::Mark { flag } => session.mark(uids, flag).await,
        Filing::Delete { .. } => session.delete(uids).await,
        Filing::Leave => Ok(()),
    }
}

fn is_same_folder(a: &str, b: &str) -> bool {
    a == b || (a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX"))
}
