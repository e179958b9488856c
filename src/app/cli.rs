//! The command line: what there is to say, and what each command answers.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::sync::watch;

use super::{ground::Ground, inspect, keys, roles::Roles, serve::Service, signal};
use crate::{
    config::{self, Settings},
    telemetry,
};

/// Exit code when the command line or the settings are at fault.
const AT_FAULT: u8 = 2;
/// How long commands other than `serve` wait for Postgres.
const PATIENCE: Duration = Duration::from_secs(10);

/// Self-hosted bulk email: REST API, sending engine and mailbox reader in one program.
#[derive(Debug, Parser)]
#[command(
    name = "postrider",
    version,
    max_term_width = 100,
    after_help = "Without a configured database Postrider starts a private Postgres under its state folder.\n\
                  Exit codes: 0 done; 1 failed; 2 the command line or the settings are at fault."
)]
struct Cli {
    /// The settings file [default: ./postrider.toml or /etc/postrider/postrider.toml, if there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until SIGTERM or SIGINT
    Serve {
        /// Which roles this process runs, separated by commas: api, track, dispatch, reports
        #[arg(long, default_value_t = Roles::all(), value_name = "ROLES")]
        roles: Roles,
    },
    /// Bring the database to this version and end (serve does it too)
    Migrate,
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what a bounce or complaint means, one line of JSON a file
    InspectReport {
        /// Raw messages as they lie in a mailbox; `-` reads standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the merged settings with secrets hidden, and list everything that is wrong with them
    Check,
}

/// Read the command line, do what it says, and tell how it went.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(AT_FAULT) } else { ExitCode::SUCCESS };
        }
    };
    if let Command::InspectReport { files } = &cli.command {
        return inspect::run(files);
    }
    let outcome = config::read(cli.config.as_deref());
    if let Command::Config(ConfigCommand::Check) = cli.command {
        return check(outcome);
    }
    let notices = outcome.notices.clone();
    let settings = match outcome.settings() {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("{faults}\n`postrider config check` shows what holds");
            return ExitCode::from(AT_FAULT);
        }
    };
    telemetry::start(settings.log.format, &settings.log.level, settings.log.color);
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(command(cli.command, settings, notices)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn command(command: Command, settings: Settings, notices: Vec<String>) -> anyhow::Result<()> {
    match command {
        Command::Serve { roles } => {
            notices.iter().for_each(|notice| tracing::warn!("{notice}"));
            let shutdown = signal::shutdown()?;
            match Service::start(settings, &roles, shutdown.clone()).await {
                Ok(service) => service.run(shutdown).await,
                Err(error) if *shutdown.borrow() => tracing::info!("ended before it was ready: {error:#}"),
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Command::Migrate => {
            let (_keep, shutdown) = watch::channel(false);
            let ground = Ground::prepare(&settings, Some(PATIENCE), &shutdown).await?;
            ground.leave().await;
            println!("the database is at this version");
            Ok(())
        }
        Command::Keys(command) => {
            let (_keep, shutdown) = watch::channel(false);
            let ground = Ground::prepare(&settings, Some(PATIENCE), &shutdown).await?;
            let done = keys::run(command, &ground).await;
            ground.leave().await;
            done
        }
        // Answered before there were settings.
        Command::Config(ConfigCommand::Check) | Command::InspectReport { .. } => Ok(()),
    }
}

fn check(outcome: config::Outcome) -> ExitCode {
    print!("{}", outcome.print());
    for notice in &outcome.notices {
        eprintln!("note: {notice}");
    }
    match outcome.settings() {
        Ok(_) => ExitCode::SUCCESS,
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(AT_FAULT)
        }
    }
}
