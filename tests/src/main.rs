//! `smartnodes-testnet`: a local Smartnodes network of real processes.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use smartnodes_tests::{
    error::TestnetError,
    story::{Settings, Testnet},
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "smartnodes-testnet",
    version,
    about = "A local Smartnodes network of real processes on real sockets"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a network and let it live through its first state updates; exit 0 only if all were executed, every
    /// worker's claims landed and the jobs were done
    Up(UpArgs),
}

#[derive(Args)]
struct UpArgs {
    /// Validators, with 1,000,000 SNO locked each
    #[arg(long, default_value_t = 3)]
    validators: u16,
    /// Workers
    #[arg(long, default_value_t = 3)]
    workers: u16,
    /// Users: each has a free job done, the first a paid one too
    #[arg(long, default_value_t = 1)]
    users: u16,
    /// State updates to live through
    #[arg(long, default_value_t = 2)]
    updates: u64,
    /// Time between two state updates, such as 90s or 5m
    #[arg(long, default_value = "90s", value_parser = seconds)]
    interval: u64,
    /// Stay up after the story, and say how to join by hand
    #[arg(long)]
    keep: bool,
    /// Directory for keys, configurations, data and logs, kept afterwards [default: a temporary one, removed]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Port of the chain's JSON-RPC endpoint on 127.0.0.1 [default: any free one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    rpc_port: u16,
}

fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => {
            return Err(format!(
                "{text:?} is no time; write for example 90s, 5m or 8h"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no time; write for example 90s, 5m or 8h"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text:?} is too long"))
}

fn main() -> ExitCode {
    let Command::Up(args) = Cli::parse().command;
    let logs_are_kept = args.dir.is_some();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(up(args));
    runtime.shutdown_timeout(Duration::from_secs(5));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if !logs_are_kept
                && matches!(
                    error,
                    TestnetError::Late { .. } | TestnetError::Command { .. }
                )
            {
                eprintln!("with --dir DIR the logs of all nodes are kept");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn up(args: UpArgs) -> Result<(), TestnetError> {
    // Lives as long as the network: dropped last, it removes the files.
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("smartnodes-testnet-")
                .tempdir()
                .map_err(|error| TestnetError::SetUp(error.to_string()))?,
        ),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(TestnetError::SetUp("no directory".to_owned())),
    };
    let settings = Settings {
        validators: args.validators,
        workers: args.workers,
        users: args.users,
        updates: args.updates,
        interval_seconds: args.interval,
        dir,
        rpc_port: args.rpc_port,
    };
    let mut interrupted = Box::pin(interrupt());
    // A start that is cut short is dropped, and the processes with it.
    let mut testnet = tokio::select! {
        biased;
        stopped = &mut interrupted => return stopped.and(Err(TestnetError::Interrupted)),
        started = Testnet::start(settings) => started?,
    };
    let story = tokio::select! {
        biased;
        stopped = &mut interrupted => stopped.and(Err(TestnetError::Interrupted)),
        told = testnet.run() => told,
    };
    if story.is_ok() {
        println!("all of it came true");
    }
    if story.is_ok() && args.keep {
        println!("\n{}", testnet.how_to_join());
        tokio::select! {
            biased;
            stopped = &mut interrupted => stopped?,
            ended = testnet.stay() => ended?,
        }
    }
    let stopped = testnet.stop().await;
    story.and(stopped)
}

/// Ends with Ctrl-C or SIGTERM.
async fn interrupt() -> Result<(), TestnetError> {
    let failed = |error: std::io::Error| TestnetError::SetUp(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed.map_err(failed),
    }
}
