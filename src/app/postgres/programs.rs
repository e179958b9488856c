//! Finding the server's programs on this machine.

use std::path::{Path, PathBuf};

use anyhow::bail;
use tokio::process::Command;

use crate::config;

/// The oldest major version that will do.
const OLDEST: u32 = 14;
const NAMES: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// A folder with `initdb`, `postgres` and `pg_ctl` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    folder: PathBuf,
    pub(super) major: u32,
}

impl Programs {
    /// The newest programs, or those of version `wanted`; only in `folder` if one is given.
    pub(super) async fn find(folder: Option<&Path>, wanted: Option<u32>) -> anyhow::Result<Self> {
        let mut found: Vec<Self> = Vec::new();
        for folder in folder.map_or_else(usual_folders, |folder| vec![folder.to_owned()]) {
            if let Some(major) = major_version(&folder).await {
                found.push(Self { folder, major });
            }
        }
        // Stable: of one version the folder that is searched first wins.
        found.sort_by_key(|programs| std::cmp::Reverse(programs.major));
        let fits = |programs: &&Self| wanted.map_or(programs.major >= OLDEST, |wanted| programs.major == wanted);
        if let Some(programs) = found.iter().find(fits) {
            return Ok(programs.clone());
        }
        let have = match found.first() {
            Some(programs) => format!("only version {} in {}", programs.major, programs.folder.display()),
            None => folder.map_or("none".to_owned(), |folder| format!("none in {}", folder.display())),
        };
        match wanted {
            Some(wanted) => bail!(
                "the private database was made by Postgres {wanted}, whose server programs are not here ({have}). \
                 Install them (Debian, Ubuntu: `apt-get install postgresql-{wanted}`), name their folder in \
                 database.programs, or set database.url"
            ),
            None => bail!(
                "no Postgres server {OLDEST} or newer was found on this machine ({have}). Install one (Debian, Ubuntu: \
                 `apt-get install postgresql`; Fedora: `dnf install postgresql-server`), name its folder in \
                 database.programs, or set database.url to use another machine's"
            ),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // Debian and Ubuntu; the packages of postgresql.org on Red Hat's; Homebrew.
    for (parent, head, tail) in
        [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin"), ("/opt/homebrew/opt", "postgresql@", "bin")]
    {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(head) {
                folders.push(entry.path().join(tail));
            }
        }
    }
    folders.push("/usr/local/pgsql/bin".into());
    folders.extend(config::search_path());
    folders.retain(|folder| NAMES.iter().all(|name| folder.join(name).is_file()));
    folders
}

/// What `postgres --version` says: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
async fn major_version(folder: &Path) -> Option<u32> {
    if !NAMES.iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let said = Command::new(folder.join("postgres")).arg("--version").kill_on_drop(true).output().await.ok()?;
    parse_version(&String::from_utf8_lossy(&said.stdout))
}

fn parse_version(said: &str) -> Option<u32> {
    let version = said.split(") ").nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_in_every_form() {
        for (said, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 17beta1\n", Some(17)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("something else", None),
        ] {
            assert_eq!(parse_version(said), major, "{said}");
        }
    }

    #[tokio::test]
    async fn a_machine_without_programs_is_told_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        let error = Programs::find(Some(empty.path()), None).await.unwrap_err().to_string();
        assert!(error.contains("apt-get install postgresql`"), "{error}");
        let error = Programs::find(Some(empty.path()), Some(14)).await.unwrap_err().to_string();
        assert!(error.contains("apt-get install postgresql-14`"), "{error}");
    }
}
