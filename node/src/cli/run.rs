//! `smartnode run`.

use std::path::Path;

use serde_json::json;
use tracing::info;

use super::{config::Loaded, error::CliError, keys, output::Output, start};

/// Runs the node until it is told to stop.
pub(super) async fn run(config: &Path, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(config)?;
    keys::refuse_while_rotating(&loaded)?;
    let identity = loaded.identity()?;
    let mut node = start::node(&loaded, identity).await?;
    let context = node.context().clone();
    let peer = context.identity.peer_id();
    let listening: Vec<String> = context
        .network
        .addresses()
        .await
        .into_iter()
        .map(|address| format!("{address}/p2p/{peer}"))
        .collect();
    output.result(&json!({
        "role": context.config.role,
        "address": context.address(),
        "peer_id": peer.to_string(),
        "listen": listening,
    }));
    tokio::select! {
        biased;
        stopped = start::stop_signal() => {
            stopped?;
            info!("stopping");
            Ok(())
        }
        ended = node.stopped() => Err(CliError::Stopped(match ended {
            Ok(()) => "a task ended".to_owned(),
            Err(error) => error.to_string(),
        })),
    }
}
