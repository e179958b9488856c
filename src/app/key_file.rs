//! The keys of this installation: from the environment or a file, which the first start makes.
//!
//! Not here: what the keys do (`keyring`), how the fingerprint is kept (`store::installation`).

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use crate::{
    config,
    keyring::Keyring,
    store::{Store, installation},
};

/// Load the keys and make sure that this database was set up with them; the first start makes both.
///
/// Errors when the database knows other keys: with them its secrets would not open and its links not be recognised.
pub async fn load(settings: &config::Keys, state: &Path, store: &Store) -> anyhow::Result<Keyring> {
    let mut connection = store.acquire().await?;
    let known = installation::fingerprint(&mut connection).await?;
    let path = settings.file.clone().unwrap_or_else(|| state.join("keys"));
    let (keyring, place) = match &settings.text {
        Some(text) => {
            let lines = text.expose_secret().replace([',', ';'], "\n");
            (Keyring::parse(&lines).context("keys.text")?, "keys.text".to_owned())
        }
        None => {
            if known.is_some() && !path.exists() {
                bail!(
                    "the key file {} is missing, but this database was set up with keys: put your backup of the file there. \
                     Without it stored passwords can't be opened and links in sent messages are not recognised",
                    path.display()
                );
            }
            (read_or_make(&path)?, path.display().to_string())
        }
    };
    let known = match known {
        Some(known) => known,
        None => installation::record_fingerprint(&mut connection, keyring.fingerprint()).await?,
    };
    if !keyring.fingerprints().any(|fingerprint| fingerprint == known) {
        bail!(
            "this database was set up with the key {known}, which is not in {place} ({}): use the key file of the \
             installation's other nodes, or your backup of it",
            keyring.fingerprints().collect::<Vec<_>>().join(", ")
        );
    }
    if keyring.fingerprint() != known {
        installation::replace_fingerprint(&mut connection, &known, keyring.fingerprint()).await?;
        tracing::info!(key_id = keyring.signing_id(), "a new key signs from now on; {known} still verifies");
    }
    Ok(keyring)
}

fn read_or_make(path: &Path) -> anyhow::Result<Keyring> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error).with_context(|| format!("read the key file {}", path.display())),
    };
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!("others may read the key file {0}: `chmod 600 {0}`", path.display());
    }
    Keyring::parse(&text).with_context(|| format!("the key file {}", path.display()))
}

/// Make the file complete under another name, then link it into place: of two first starts one wins and both read its keys.
fn make(path: &Path) -> anyhow::Result<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let draft = draft_of(path);
    let write = || -> std::io::Result<String> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let text = Keyring::generate_text().map_err(std::io::Error::other)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => {
                File::open(folder)?.sync_all()?;
                tracing::info!("made the key file {}: back it up, nothing can replace it", path.display());
                Ok(text)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
            Err(error) => Err(error),
        }
    };
    write().with_context(|| format!("make the key file {}", path.display()))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let made = read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path).unwrap().fingerprint(), made.fingerprint());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_two_first_starts_both_use_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = make(&path).unwrap();
        assert_eq!(make(&path).unwrap(), first);
    }

    #[test]
    fn a_broken_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "1:short\n").unwrap();
        let error = format!("{:#}", read_or_make(&path).unwrap_err());
        assert!(error.contains("line 1"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1:short\n");
    }
}
