//! Whom Postgres runs as: it refuses to run as root.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, anyhow};

/// A user of this machine and its main group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The user this process runs as.
pub(super) fn our_uid() -> anyhow::Result<u32> {
    // The kernel shows a process's files as its effective user's.
    Ok(std::fs::metadata("/proc/self").context("read /proc/self")?.uid())
}

/// The user for the server when we are root: whoever owns the data already, else `postgres`, else `nobody`.
/// `None`: we are not root, so it is ourselves.
pub(super) fn choose(data: &Path) -> anyhow::Result<Option<Owner>> {
    if our_uid()? != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let users: Vec<Owner> = users.lines().filter_map(parse_user).filter(|user| user.uid != 0).collect();
    if let Ok(found) = std::fs::metadata(data)
        && found.uid() != 0
    {
        let known = users.iter().find(|user| user.uid == found.uid());
        let name = known.map_or_else(|| found.uid().to_string(), |user| user.name.clone());
        return Ok(Some(Owner { name, uid: found.uid(), gid: found.gid() }));
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| users.iter().find(|user| user.name == *name))
        .cloned()
        .map(Some)
        .ok_or_else(|| anyhow!("Postgres can't run as root, and this machine has no user `postgres` or `nobody`"))
}

fn parse_user(line: &str) -> Option<Owner> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(Owner { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

impl Owner {
    /// Whether this user may enter every folder above `path` (which is absolute; folders that don't exist yet count as enterable).
    pub(super) fn reaches(&self, path: &Path) -> bool {
        path.ancestors().skip(1).filter_map(|folder| std::fs::metadata(folder).ok()).all(|folder| {
            let mode = folder.permissions().mode();
            let bit = match (folder.uid() == self.uid, folder.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            mode & bit != 0
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_user_file_names_user_and_group() {
        let line = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        assert_eq!(parse_user(line), Some(Owner { name: "postgres".into(), uid: 101, gid: 104 }));
        assert_eq!(parse_user("# comment"), None);
    }

    #[test]
    fn a_folder_closed_to_others_is_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let other = Owner { name: "other".into(), uid: 4_000_000, gid: 4_000_000 };
        assert!(!other.reaches(&folder.path().join("data")));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        assert!(other.reaches(&folder.path().join("data/deeper")));
    }
}
