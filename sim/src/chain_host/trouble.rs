//! What can be wrong with the chain and its endpoints, and what a troubled endpoint answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use alloy::primitives::{B256, keccak256};
use serde_json::{Value, json};

/// Something wrong with the chain or with what it answers.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// These hosts get no answers.
    Outage(BTreeSet<IpAddr>),
    /// These hosts get answers as of this block.
    Stale(BTreeSet<IpAddr>, u64),
    /// These hosts get untrue answers.
    Lies(BTreeSet<IpAddr>),
    /// Transactions of these hosts are kept back for so long.
    Delay(BTreeSet<IpAddr>, Duration),
    /// Transactions of these hosts are thrown away with this chance.
    Drop(BTreeSet<IpAddr>, f64),
    /// The base fee is so many times what it was.
    Fee {
        /// How many times.
        times: u64,
        /// The fee before, in wei for each unit of gas.
        before: u64,
    },
    /// No block is made.
    Stop,
    /// Blocks carry timestamps so many seconds ahead.
    Drift(u64),
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is answered.
    Answer,
    /// It never is.
    Silence,
    /// A transaction is said to be taken, and is handed in later.
    Later(Duration),
    /// A transaction is said to be taken, and is not.
    Lost,
}

impl Trouble {
    /// What becomes of a request of a host, and whether this trouble has a hand in it. `drawn` is a number from 0 to 1
    /// for this request.
    pub(super) fn verdict(&self, from: IpAddr, request: &Value, drawn: f64) -> Verdict {
        let sends = method(request) == Some("eth_sendRawTransaction");
        match self {
            Trouble::Outage(hosts) if hosts.contains(&from) => Verdict::Silence,
            Trouble::Delay(hosts, by) if sends && hosts.contains(&from) => Verdict::Later(*by),
            Trouble::Drop(hosts, share) if sends && hosts.contains(&from) && drawn < *share => {
                Verdict::Lost
            }
            _ => Verdict::Answer,
        }
    }

    /// Makes a request ask for what this trouble shows. Whether it has changed.
    pub(super) fn bend_request(&self, from: IpAddr, request: &mut Value) -> bool {
        let Trouble::Stale(hosts, block) = self else {
            return false;
        };
        if !hosts.contains(&from) {
            return false;
        }
        let mut changed = false;
        bend_tags(
            request.get_mut("params"),
            &format!("{block:#x}"),
            &mut changed,
        );
        changed
    }

    /// Makes an answer say what this trouble shows. Whether it has changed.
    pub(super) fn bend_answer(&self, from: IpAddr, request: &Value, answer: &mut Value) -> bool {
        let Some(result) = answer.get_mut("result") else {
            return false;
        };
        match self {
            Trouble::Stale(hosts, block) if hosts.contains(&from) => {
                if method(request) == Some("eth_blockNumber") {
                    *result = json!(format!("{block:#x}"));
                    return true;
                }
                // What is in a later block has not happened yet.
                let number = result.get("blockNumber").or_else(|| result.get("number"));
                if number
                    .and_then(quantity)
                    .is_some_and(|number| number > *block)
                {
                    *result = Value::Null;
                    return true;
                }
                let Some(logs) = result.as_array_mut() else {
                    return false;
                };
                let before = logs.len();
                logs.retain(|log| {
                    let number = log.get("blockNumber").and_then(quantity);
                    number.is_none_or(|number| number <= *block)
                });
                logs.len() != before
            }
            Trouble::Lies(hosts) if hosts.contains(&from) => {
                if method(request) != Some("eth_call") {
                    return false;
                }
                // The last bit of what a contract says: another count, another flag, another address.
                let Some(text) = result.as_str().filter(|text| text.len() > 2) else {
                    return false;
                };
                let (rest, last) = text.split_at(text.len() - 1);
                let Some(digit) = last.chars().next().and_then(|c| c.to_digit(16)) else {
                    return false;
                };
                *result = json!(format!("{rest}{:x}", digit ^ 1));
                true
            }
            _ => false,
        }
    }
}

/// The hash that an endpoint gives for a raw transaction, without looking into it.
pub(super) fn hash_of(request: &Value) -> Option<B256> {
    let raw = request.get("params")?.get(0)?.as_str()?;
    let raw = alloy::hex::decode(raw).ok()?;
    Some(keccak256(raw))
}

fn method(request: &Value) -> Option<&str> {
    request.get("method")?.as_str()
}

fn quantity(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

/// Replaces the names of the newest blocks by a number, wherever they stand.
fn bend_tags(value: Option<&mut Value>, block: &str, changed: &mut bool) {
    match value {
        Some(Value::String(text))
            if ["latest", "pending", "safe", "finalized"].contains(&text.as_str()) =>
        {
            *text = block.to_owned();
            *changed = true;
        }
        Some(Value::Array(items)) => {
            for item in items {
                bend_tags(Some(item), block, changed);
            }
        }
        Some(Value::Object(fields)) => {
            for (_, field) in fields.iter_mut() {
                bend_tags(Some(field), block, changed);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> IpAddr {
        [10, 0, 0, 1].into()
    }

    #[test]
    fn a_stale_endpoint_speaks_of_an_old_block_only() {
        let trouble = Trouble::Stale([one()].into(), 16);
        let mut request = json!({"method": "eth_call", "params": [{"to": "0x01"}, "latest"]});
        assert!(trouble.bend_request(one(), &mut request));
        assert_eq!(request["params"][1], "0x10");
        assert!(!trouble.bend_request([10, 0, 0, 2].into(), &mut request));
        let mut receipt = json!({"result": {"blockNumber": "0x11", "status": "0x1"}});
        assert!(trouble.bend_answer(one(), &request, &mut receipt));
        assert_eq!(receipt["result"], Value::Null);
        let mut logs = json!({"result": [{"blockNumber": "0x10"}, {"blockNumber": "0x11"}]});
        assert!(trouble.bend_answer(one(), &request, &mut logs));
        assert_eq!(logs["result"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_lie_changes_what_a_contract_says_and_nothing_else() {
        let trouble = Trouble::Lies([one()].into());
        let call = json!({"method": "eth_call", "params": []});
        let mut answer = json!({"result": "0x0001"});
        assert!(trouble.bend_answer(one(), &call, &mut answer));
        assert_eq!(answer["result"], "0x0000");
        let other = json!({"method": "eth_chainId", "params": []});
        assert!(!trouble.bend_answer(one(), &other, &mut answer));
    }

    #[test]
    fn only_transactions_are_kept_back_or_lost() {
        let send = json!({"method": "eth_sendRawTransaction", "params": ["0x00"]});
        let read = json!({"method": "eth_blockNumber", "params": []});
        let delay = Trouble::Delay([one()].into(), Duration::from_secs(9));
        assert_eq!(
            delay.verdict(one(), &send, 0.0),
            Verdict::Later(Duration::from_secs(9))
        );
        assert_eq!(delay.verdict(one(), &read, 0.0), Verdict::Answer);
        let lost = Trouble::Drop([one()].into(), 0.5);
        assert_eq!(lost.verdict(one(), &send, 0.4), Verdict::Lost);
        assert_eq!(lost.verdict(one(), &send, 0.6), Verdict::Answer);
        assert_eq!(hash_of(&send), Some(keccak256([0u8])));
    }
}
