//! Names of hosts: a role and a number from 1, such as `validator-2`.

use std::fmt;
use std::str::FromStr;

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Locks collateral, recruits and checks workers, votes on state updates.
    Validator,
    /// Offers capacity and executes jobs.
    Worker,
    /// Submits jobs.
    User,
    /// Has keys and no seat: it is there to attack.
    Peer,
}

impl Role {
    /// All roles, in the order in which hosts are numbered and started.
    pub const ALL: [Role; 4] = [Role::Validator, Role::Worker, Role::User, Role::Peer];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Validator => "validator",
            Role::Worker => "worker",
            Role::User => "user",
            Role::Peer => "peer",
        })
    }
}

/// A host of the scenario, numbered from 1 within its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName {
    /// What the host does.
    pub role: Role,
    /// Its number among the hosts of that role, from 1.
    pub number: usize,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.role, self.number)
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<HostName, String> {
        let mend = || {
            format!(
                "`{text}` names no host: write a role and a number from 1, such as \"validator-2\""
            )
        };
        let (role, number) = text.split_once('-').ok_or_else(mend)?;
        let role = Role::ALL
            .into_iter()
            .find(|r| r.to_string() == role)
            .ok_or_else(mend)?;
        let plain = !number.starts_with(['0', '+']);
        let number = number
            .parse()
            .ok()
            .filter(|n| plain && *n > 0)
            .ok_or_else(mend)?;
        Ok(HostName { role, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_itself() {
        for text in ["validator-1", "worker-20", "user-3", "peer-2"] {
            assert_eq!(
                text.parse::<HostName>().map(|h| h.to_string()),
                Ok(text.to_owned())
            );
        }
        for bad in [
            "validator",
            "validator-0",
            "validator-01",
            "miner-1",
            "worker-+1",
            "worker-",
            "user--1",
            "",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?} was accepted");
        }
    }
}
