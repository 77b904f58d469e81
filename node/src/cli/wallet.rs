//! `smartnode user register` and `smartnode transfer`.

use alloy::primitives::{Address, B256};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{ConfigArg, amount::Sno, config::Loaded, error::CliError, output::Output, start};
use crate::chain::Intent;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Register the wallet as a user: locks the user amount (100 SNO)
    Register(ConfigArg),
}

#[derive(Args)]
pub(super) struct TransferArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Who receives it
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
    /// How much, such as "150 SNO" or "1000 wei"
    #[arg(long)]
    amount: Sno,
    /// Marks this transfer: with the same mark it happens once, however often the command is given [default: random]
    #[arg(long, value_name = "32 BYTES, HEX")]
    reference: Option<B256>,
}

pub(super) async fn user(command: UserCommand, output: &Output) -> Result<(), CliError> {
    let UserCommand::Register(arg) = command;
    let loaded = Loaded::read(&arg.config)?;
    let identity = loaded.identity()?;
    let chain = start::chain(&loaded, &identity).await?;
    let address = identity.address();
    if chain.is_user(address).await.map_err(CliError::Chain)? {
        output.result(&json!({ "address": address, "registered": true }));
        return Ok(());
    }
    let intent = Intent::CreateUser {
        key_hash: identity.public_key_hash(),
    };
    let mined = chain.send(intent).await.map_err(CliError::Chain)?;
    output.result(&json!({
        "address": address, "registered": true, "transaction": mined.hash, "block": mined.block,
    }));
    Ok(())
}

pub(super) async fn transfer(args: TransferArgs, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(&args.config.config)?;
    let identity = loaded.identity()?;
    let chain = start::chain(&loaded, &identity).await?;
    let reference = args.reference.unwrap_or_else(|| B256::new(rand::random()));
    // Shown first, so that an interrupted transfer can be resumed.
    tracing::info!(%reference, to = %args.to, amount = %args.amount, "transfer");
    let intent = Intent::Transfer {
        to: args.to,
        amount: args.amount.0,
        reference,
    };
    let mined = tokio::select! {
        biased;
        mined = chain.send(intent) => mined.map_err(CliError::Chain)?,
        stopped = start::stop_signal() => {
            stopped?;
            return Err(CliError::Interrupted);
        }
    };
    output.result(&json!({
        "to": args.to,
        "amount": args.amount.to_string(),
        "reference": reference,
        "transaction": mined.hash,
        "block": mined.block,
    }));
    Ok(())
}
