//! `keys`: API keys from the command line, for whoever has the machine.
//!
//! Not here: what a key is and how it is checked (`api::caller`), keys over HTTP (`api`).

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::ground::Ground;
use crate::{
    api::{self, caller},
    domain::id::{ApiKeyId, WorkspaceId},
    store::{
        api_keys::{self, ApiKey},
        workspaces,
    },
};

/// Keys read from the database at a time.
const PAGE: i64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it; it can't be shown again
    Create {
        #[command(flatten)]
        whose: Whose,
        /// For people: what the key is used for
        #[arg(long, default_value = "command line")]
        name: String,
        /// What a workspace's key may do, separated by commas, such as campaigns.read [default: everything]
        #[arg(long, value_delimiter = ',', conflicts_with = "operator")]
        scopes: Vec<String>,
    },
    /// List the keys that are not revoked
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// Revoke a key: it is refused from the next request on
    Revoke {
        /// Its id, as `keys list` shows it
        #[arg(value_name = "KEY_ID")]
        id: ApiKeyId,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// The operator's: it creates workspaces and their keys, and nothing else
    #[arg(long)]
    operator: bool,
    /// A workspace's
    #[arg(long, value_name = "WORKSPACE_ID")]
    workspace: Option<WorkspaceId>,
}

/// Do what the command says and print the result.
pub(super) async fn run(command: Command, ground: &Ground) -> anyhow::Result<()> {
    match command {
        Command::Create { whose, name, scopes } => create(whose, &name, scopes, ground).await,
        Command::List { whose } => list(whose, ground).await,
        Command::Revoke { id } => revoke(id, ground).await,
    }
}

async fn create(whose: Whose, name: &str, scopes: Vec<String>, ground: &Ground) -> anyhow::Result<()> {
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        bail!("--name must have 1 to 200 characters and no control characters");
    }
    if let Some(unknown) = scopes.iter().find(|scope| !api::SCOPES.contains(&scope.as_str())) {
        bail!("`{unknown}` is no scope; there are {}", api::SCOPES.join(", "));
    }
    let mut connection = ground.store.acquire().await?;
    let scopes = match whose.workspace {
        None => Vec::new(),
        Some(workspace) => {
            check_workspace(&mut connection, workspace).await?;
            if scopes.is_empty() { api::SCOPES.iter().map(ToString::to_string).collect() } else { scopes }
        }
    };
    let new = caller::make(&ground.keyring, whose.workspace, name, scopes, Utc::now())?;
    api_keys::insert(&mut connection, &new.key).await?;
    eprintln!("The key {} (it can't be shown again):", new.key.id);
    println!("{}", new.text);
    Ok(())
}

async fn list(whose: Whose, ground: &Ground) -> anyhow::Result<()> {
    let mut connection = ground.store.acquire().await?;
    if let Some(workspace) = whose.workspace {
        check_workspace(&mut connection, workspace).await?;
    }
    let mut after = None;
    loop {
        let keys = api_keys::page(&mut connection, whose.workspace, after, PAGE).await?;
        keys.iter().for_each(|key| println!("{}", line(key)));
        after = keys.last().map(|key| key.id);
        if i64::try_from(keys.len()).is_ok_and(|n| n < PAGE) {
            return Ok(());
        }
    }
}

/// `key_…  made 2026-11-24  used 2026-11-25  name  scopes`
fn line(key: &ApiKey) -> String {
    let day = |time: DateTime<Utc>| time.format("%Y-%m-%d").to_string();
    let used = key.last_used_at.map_or("never used".to_owned(), |time| format!("used {}", day(time)));
    let ends = key.expires_at.map(|time| format!("  ends {}", day(time))).unwrap_or_default();
    let scopes = match (key.workspace, key.scopes.len() == api::SCOPES.len()) {
        (None, _) => "operator".to_owned(),
        (Some(_), true) => "everything".to_owned(),
        (Some(_), false) => key.scopes.join(","),
    };
    format!("{}  made {}  {used}{ends}  {:?}  {scopes}", key.id, day(key.created_at), key.name)
}

async fn revoke(id: ApiKeyId, ground: &Ground) -> anyhow::Result<()> {
    let mut connection = ground.store.acquire().await?;
    let key = api_keys::find(&mut connection, id).await?.ok_or_else(|| anyhow!("there is no key {id}"))?;
    if api_keys::revoke(&mut connection, key.workspace, id, Utc::now()).await? {
        eprintln!("revoked {id}");
    } else {
        eprintln!("{id} was revoked before");
    }
    Ok(())
}

async fn check_workspace(connection: &mut crate::store::Connection, id: WorkspaceId) -> anyhow::Result<()> {
    workspaces::find(connection, id).await?.map(|_| ()).ok_or_else(|| anyhow!("there is no workspace {id}"))
}
