//! Hosts without a role, which are there to attack. Each goes on for as long as it is polled: turned away, it comes back.

mod eclipse;
mod flooder;
mod impostor;
mod malformed;
mod poisoner;
mod raw;
mod slow_loris;

use smartnodes_node::p2p::NetworkError;

use crate::Stand;
use impostor::Disguise;

/// What a host without a role does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// It surrounds one validator with identities that answer its look-ups with each other.
    Eclipse,
    /// It puts records into the DHT that do not hold, and serves some to whoever looks.
    Poisoner,
    /// It asks for keys and jobs that nobody has, without end.
    Flooder,
    /// It shows role statements that were made at another time, by others or for others.
    Replayer,
    /// It claims to be a validator, and asks for what only validators get.
    Impostor,
    /// It sends frames that are no messages, or far too large.
    Malformed,
    /// It opens connections and streams, and sends almost nothing.
    SlowLoris,
}

/// Attacks until it is dropped. It returns only if the attack cannot be begun.
pub async fn attack(attack: Attack, stand: &Stand) -> Result<(), NetworkError> {
    match attack {
        Attack::Eclipse => eclipse::run(stand).await,
        Attack::Poisoner => poisoner::run(stand).await,
        Attack::Flooder => flooder::run(stand).await,
        Attack::Replayer => impostor::run(stand, Disguise::Replayed).await,
        Attack::Impostor => impostor::run(stand, Disguise::Claimed).await,
        Attack::Malformed => malformed::run(stand).await,
        Attack::SlowLoris => slow_loris::run(stand).await,
    }
}
