//! `smartnode network`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigArg, config::Loaded, error::CliError, output::Output, start};
use crate::work::{NetworkName, Policy};

#[derive(Subcommand)]
pub(super) enum NetworkCommand {
    /// Show the networks on chain, and what their names say of workload and verification
    List(ConfigArg),
}

/// Can be asked while the node is running.
pub(super) async fn network(command: NetworkCommand, output: &Output) -> Result<(), CliError> {
    let NetworkCommand::List(arg) = command;
    let loaded = Loaded::read(&arg.config)?;
    let identity = loaded.identity()?;
    let chain = start::chain_to_read(&loaded, &identity).await?;
    let networks = chain.networks().await.map_err(CliError::Chain)?;
    let shown: Vec<Value> = networks
        .iter()
        .map(|(name, active)| {
            let mut shown = json!({ "name": name, "active": active });
            match name.parse::<NetworkName>() {
                Ok(NetworkName { workload, policy }) => {
                    let Policy {
                        segments,
                        executed_again,
                        vectors,
                    } = policy;
                    shown["workload"] = json!(workload);
                    shown["policy"] = match workload {
                        "hash-chain" => json!({ "segments": segments }),
                        "wasm" => json!({ "executed_again_in_1000": executed_again }),
                        _ => json!({ "vectors": vectors }),
                    };
                }
                Err(error) => shown["not_served"] = json!(error.to_string()),
            }
            shown
        })
        .collect();
    output.result(&json!({ "networks": shown }));
    Ok(())
}
