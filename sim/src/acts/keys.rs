//! Network keys that are replaced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smartnodes_evm::bindings::SmartnodesCore as Core;
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{HostName, Unsynced};
use tokio::time::sleep;
use tracing::info;

use super::error::ActError;
use super::person::{Person, Sent};
use crate::faults::Target;

/// How long the old key is still used when the chain has the new one: as long as a thief would, and longer than any node
/// believes in it.
const OLD_KEY_FOR: Duration = Duration::from_secs(12 * 60);

/// What a host's node is started with. Clones share it.
#[derive(Clone)]
pub struct Keys(Arc<Mutex<Identity>>);

impl Keys {
    /// These.
    pub fn new(identity: Identity) -> Keys {
        Keys(Arc::new(Mutex::new(identity)))
    }

    /// Those of now.
    pub fn now(&self) -> Identity {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, identity: Identity) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

/// Registers another network key for a host's wallet, lets its node go on with the old one for a while, and starts it
/// again with the new one.
pub(super) async fn rotate(
    person: &Person,
    hosts: &BTreeMap<HostName, (Keys, Target)>,
    host: HostName,
    next: Identity,
) -> Result<Vec<Sent>, ActError> {
    let (keys, target) = hosts.get(&host).ok_or(ActError::NoHost(host))?;
    let register = Core::setPublicKeyHashCall {
        publicKeyHash: next.public_key_hash(),
    };
    let core = person.deployment().core;
    let sent = person.call(&next.wallet, core, &register).await?;
    if sent.reverted.is_some() {
        return Ok(vec![sent]);
    }
    sleep(OLD_KEY_FOR).await;
    let _alone = target.busy.clone().lock_owned().await;
    keys.replace(next);
    target.kill(Unsynced::Lost);
    info!(%host, "started with its new key");
    target.start();
    Ok(vec![sent])
}
