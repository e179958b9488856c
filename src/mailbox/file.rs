//! Filing away what was read: moved to a folder of its own, so that the folder that is read stays short; or marked; or
//! deleted.
//!
//! Each step can be done again after a crash: moving what is gone is nothing to the server. Not here: which of them, and
//! when (`reports`).
//!
//! RFC 6851 (MOVE), RFC 4315 (UID EXPUNGE), RFC 3501 §6.3.3 (CREATE), §6.4.7 (COPY).

use super::{
    error::{Cause, MailboxError, Stage},
    name,
    session::Session,
};

impl Session {
    /// Move these messages (UIDs in ascending order) of the open folder to `target`, which is made if it is missing.
    ///
    /// A server without MOVE copies them and marks them deleted; one without UIDPLUS as well leaves them so, since a
    /// plain EXPUNGE would remove what others have marked.
    ///
    /// # Errors
    /// [`Cause::Refused`] with the server's words, such as no right or no room; otherwise as for every command.
    pub async fn file(&mut self, uids: &[u32], target: &str) -> Result<(), MailboxError> {
        let target = name::quote(target).ok_or_else(|| Cause::Setting("filed_folder").at(Stage::File))?;
        for set in name::sets(uids) {
            let refused = match self.transfer(&set, &target).await {
                Err(refused) if refused.is_refusal() => refused,
                outcome => {
                    outcome?;
                    continue;
                }
            };
            // The target may be missing. When it is there, CREATE is refused and that says nothing new.
            match self.run(Stage::File, &format!("CREATE {target}"), |_| ()).await {
                Ok(()) => self.transfer(&set, &target).await?,
                Err(error) if error.is_refusal() => return Err(Cause::both(refused.cause, error.cause).at(Stage::File)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Give these messages (UIDs in ascending order) of the open folder this flag (`\\Seen`) or keyword.
    ///
    /// # Errors
    /// [`Cause::Refused`] with the server's words; otherwise as for every command.
    pub async fn mark(&mut self, uids: &[u32], flag: &str) -> Result<(), MailboxError> {
        if !name::is_flag(flag) {
            return Err(Cause::Setting("filed_flag").at(Stage::File));
        }
        for set in name::sets(uids) {
            self.run(Stage::File, &format!("UID STORE {set} +FLAGS.SILENT ({flag})"), |_| ()).await?;
        }
        Ok(())
    }

    /// Delete these messages (UIDs in ascending order) of the open folder; without UIDPLUS they are only marked so, as for
    /// [`Self::file`].
    ///
    /// # Errors
    /// As for [`Self::mark`].
    pub async fn delete(&mut self, uids: &[u32]) -> Result<(), MailboxError> {
        for set in name::sets(uids) {
            self.expunge(&set).await?;
        }
        Ok(())
    }

    async fn transfer(&mut self, set: &str, target: &str) -> Result<(), MailboxError> {
        if self.can_move {
            return self.run(Stage::File, &format!("UID MOVE {set} {target}"), |_| ()).await;
        }
        self.run(Stage::File, &format!("UID COPY {set} {target}"), |_| ()).await?;
        self.expunge(set).await
    }

    async fn expunge(&mut self, set: &str) -> Result<(), MailboxError> {
        self.run(Stage::File, &format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"), |_| ()).await?;
        if self.can_expunge_by_uid {
            self.run(Stage::File, &format!("UID EXPUNGE {set}"), |_| ()).await?;
        }
        Ok(())
    }
}
