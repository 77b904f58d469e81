//! The command line of `smartnode`.
//!
//! Results go to standard output (with `--json`, one JSON object to a line), everything else to standard error. The exit
//! code is 0 if what was asked for is done, 2 if it cannot be done as asked (arguments, configuration, keys, an endpoint
//! that is not there), and 1 if it was begun and failed. Real networks only.

#![allow(
    clippy::disallowed_methods,
    reason = "the program runs on the real machine; the simulator has none of this"
)]

mod amount;
pub mod config;
mod deploy;
mod error;
mod init;
mod job;
mod keys;
mod network;
mod output;
mod run;
mod start;
mod status;
mod wallet;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use error::CliError;
use output::Output;

#[derive(Parser)]
#[command(
    name = "smartnode",
    version,
    about = "A node of the Smartnodes network: validator, worker or user",
    after_help = "First steps:\n  smartnode init --role worker --rpc http://127.0.0.1:8545 --deployment deployment.json --dir my-node\n  \
                  smartnode run --config my-node/node.toml\n\nThe password of the keys is read from the file that \
                  keys.password_file names, or from the variable SMARTNODE_PASSWORD.\nRUST_LOG sets the log level \
                  (default: info)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON, one object to a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Write a node's configuration, and keys if there are none
    Init(init::InitArgs),
    /// Run the node until it is stopped by Ctrl-C or SIGTERM
    Run(ConfigArg),
    /// Make keys, show the public halves, or replace the network key
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Ask for jobs, as a user
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Show the networks that jobs can be for
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Manage the registration as a user
    #[command(subcommand)]
    User(wallet::UserCommand),
    /// Send SNO from the node's wallet
    Transfer(wallet::TransferArgs),
    /// Deploy the contracts of a new network to a chain
    Deploy(deploy::DeployArgs),
    /// Show the round on chain and what the chain knows of this node
    Status(ConfigArg),
}

/// Which node a command is about.
#[derive(Args)]
struct ConfigArg {
    /// The node's configuration file
    #[arg(
        long,
        env = "SMARTNODE_CONFIG",
        value_name = "FILE",
        default_value = "node.toml"
    )]
    config: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,libp2p_swarm=warn"));
    // Fails only if a logger is there already, and then nothing is lost.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let output = Output::new(cli.json);
    match execute(cli.command, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init::init(args, output),
        Command::Keys(command) => start::block_on(keys::keys(command, output)),
        Command::Run(arg) => start::block_on(run::run(&arg.config, output)),
        Command::Job(command) => start::block_on(job::job(command, output)),
        Command::Network(command) => start::block_on(network::network(command, output)),
        Command::User(command) => start::block_on(wallet::user(command, output)),
        Command::Transfer(args) => start::block_on(wallet::transfer(args, output)),
        Command::Deploy(args) => start::block_on(deploy::deploy(args, output)),
        Command::Status(arg) => start::block_on(status::status(&arg.config, output)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
