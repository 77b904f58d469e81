//! The process of a host: how it ends, stands still and starts again.

use std::sync::Arc;

use madsim::rand::Rng;
use madsim::runtime::Handle;
use madsim::task::NodeId;
use smartnodes_scenarios::Unsynced;

use crate::disk::SimDisk;
use crate::wire::Endpoint;

/// A host as faults see it. Clones are the same host.
#[derive(Clone)]
pub struct Target {
    /// The host in the runtime.
    pub node: NodeId,
    /// Its disk.
    pub disk: SimDisk,
    /// Where it is on the wire.
    pub endpoint: Endpoint,
    /// Held by whatever strikes the process, so that such strikes follow one another.
    pub busy: Arc<tokio::sync::Mutex<()>>,
}

impl Target {
    /// Ends the process, which may be the one that calls: nothing that it still does reaches disk or wire. Says how many
    /// writes were not synced; `None` if it was not running.
    pub fn kill(&self, unsynced: Unsynced) -> Option<u64> {
        let handle = Handle::current();
        if handle.is_exit(self.node) {
            return None;
        }
        handle.kill(self.node);
        self.endpoint.cut_off();
        Some(match unsynced {
            Unsynced::Lost => self.disk.crash(),
            Unsynced::Torn => {
                let mut rng = madsim::rand::thread_rng();
                self.disk.crash_torn(|| rng.gen_bool(0.5))
            }
        })
    }

    /// Starts the process again, if it does not run.
    pub fn start(&self) {
        let handle = Handle::current();
        if handle.is_exit(self.node) {
            handle.restart(self.node);
        }
    }
}
