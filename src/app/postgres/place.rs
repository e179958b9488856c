//! Where the private Postgres keeps its data and its socket.

use std::{
    ffi::OsStr,
    fs::DirBuilder,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::owner::{self, Owner};
use crate::keyring::sha256;

/// Longest path of a unix socket, in bytes (`sun_path` of unix(7), less its final zero).
const MAX_SOCKET_BYTES: usize = 107;
const SOCKET: &str = ".s.PGSQL.5432";

/// The folders, made and owned by whom Postgres runs as.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Holds the lock and the two below; ours.
    pub(super) base: PathBuf,
    /// The data directory; doesn't exist before the first start.
    pub(super) data: PathBuf,
    /// The folder of the socket.
    pub(super) socket: PathBuf,
    /// Whom Postgres runs as, if not ourselves.
    pub(super) owner: Option<Owner>,
}

impl Place {
    /// Decide on the folders for this state folder (absolute, existing) and make them.
    pub(super) fn prepare(state: &Path) -> anyhow::Result<Self> {
        let mut base = state.to_owned();
        let mut owner = owner::choose(&base.join("postgres"))?;
        if let Some(user) = owner.clone()
            && !user.reaches(&base.join("postgres"))
        {
            base = Path::new("/var/lib/postrider").join(short_hash(state));
            make_all(&base)?;
            owner = owner::choose(&base.join("postgres"))?;
            tracing::info!(
                "the user {} can't reach {}, so the private Postgres lives in {}",
                user.name,
                state.display(),
                base.display()
            );
        }
        let socket = socket_folder(&base, state, owner.is_some());
        if !socket.starts_with(&base) {
            tracing::info!("the state folder's path is too long for a unix socket, which lies in {}", socket.display());
        }
        make_private(&socket, owner.as_ref())?;
        Ok(Self { data: base.join("postgres"), base, socket, owner })
    }

    /// The URL of the private database.
    pub(super) fn url(&self) -> String {
        let folder: String = self.socket.as_os_str().as_bytes().iter().map(|byte| percent(*byte)).collect();
        format!("postgres://postrider@localhost/postgres?host={folder}")
    }

    /// The socket and its lock file.
    pub(super) fn socket_files(&self) -> [PathBuf; 2] {
        [self.socket.join(SOCKET), self.socket.join(format!("{SOCKET}.lock"))]
    }
}

fn percent(byte: u8) -> String {
    match byte {
        b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// `run` beside the data if its path is short enough, else a folder of its own with a short one.
fn socket_folder(base: &Path, state: &Path, is_root: bool) -> PathBuf {
    let beside = base.join("run");
    if beside.as_os_str().len() + 1 + SOCKET.len() <= MAX_SOCKET_BYTES {
        return beside;
    }
    Path::new(if is_root { "/run" } else { "/var/tmp" }).join(format!("postrider-{}", short_hash(state)))
}

fn short_hash(path: &Path) -> String {
    sha256(path.as_os_str().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn make_all(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .with_context(|| format!("make the folder {}", folder.display()))
}

/// A folder that only `owner` (or ourselves) may enter. One that is there already must be just that: names under
/// /var/tmp can be taken by anyone.
pub(super) fn make_private(folder: &Path, owner: Option<&Owner>) -> anyhow::Result<()> {
    let shown = folder.display();
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {
            if let Some(owner) = owner {
                std::os::unix::fs::chown(folder, Some(owner.uid), Some(owner.gid))
                    .with_context(|| format!("give {shown} to the user {}", owner.name))?;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("make the folder {shown}")),
    }
    let found = std::fs::symlink_metadata(folder).with_context(|| format!("look at {shown}"))?;
    let uid = match owner {
        Some(owner) => owner.uid,
        None => owner::our_uid()?,
    };
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let name = owner.map_or_else(|| uid.to_string(), |owner| owner.name.clone());
        bail!("{shown} must be a folder of the user {name} that nobody else may enter (mode 0700); move it away");
    }
    Ok(())
}

/// Whether `folder` is empty or not there.
pub(super) fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// The number in a data directory's `PG_VERSION`.
pub(super) fn data_version(data: &Path) -> Option<u32> {
    std::fs::read_to_string(data.join(OsStr::new("PG_VERSION"))).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_lies_beside_its_data_unless_the_path_is_too_long() {
        let short = Path::new("/srv/postrider");
        assert_eq!(socket_folder(short, short, false), short.join("run"));
        let long = PathBuf::from(format!("/{}", "x".repeat(100)));
        let folder = socket_folder(&long, &long, false);
        assert!(folder.starts_with("/var/tmp"), "{}", folder.display());
        assert!(folder.join(SOCKET).as_os_str().len() <= MAX_SOCKET_BYTES);
        assert_ne!(folder, socket_folder(&long, Path::new("/other"), false));
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        make_private(&folder, None).unwrap();
        make_private(&folder, None).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make_private(&folder, None).is_err());
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(temporary.path(), &link).unwrap();
        assert!(make_private(&link, None).is_err());
    }
}
