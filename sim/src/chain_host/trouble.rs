//! What can be wrong with the chain and its endpoints, and what a troubled endpoint answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use alloy::primitives::{B256, keccak256};
use serde_json::{Value, json};

/// Whose requests a trouble concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// These hosts'.
    pub hosts: BTreeSet<IpAddr>,
    /// To this endpoint, from 1; `None`: to all.
    pub endpoint: Option<usize>,
}

/// A request as a trouble sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The host that asks.
    pub(super) from: IpAddr,
    /// The endpoint that is asked, from 1.
    pub(super) endpoint: usize,
    /// The request.
    pub(super) request: &'a Value,
    /// Virtual time from the start.
    pub(super) now: Duration,
}

impl Scope {
    fn covers(&self, from: IpAddr, endpoint: usize) -> bool {
        self.hosts.contains(&from) && self.endpoint.is_none_or(|only| only == endpoint)
    }
}

/// How wrong a clock is, in seconds; negative where it is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// All the time the same.
    Steadily(i64),
    /// More and more: so much after `over` from the beginning, in virtual time from the start of the run.
    Growing {
        /// In the end.
        by: i64,
        /// The beginning.
        from: Duration,
        /// How long it grows.
        over: Duration,
    },
}

impl Wrong {
    fn at(self, now: Duration) -> i64 {
        match self {
            Wrong::Steadily(by) => by,
            Wrong::Growing { by, from, over } => {
                let passed = now.saturating_sub(from).min(over).as_secs();
                let whole = over.as_secs().max(1);
                by.saturating_mul(passed as i64) / whole as i64
            }
        }
    }
}

/// Something wrong with the chain or with what it answers.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// These requests get no answers.
    Outage(Scope),
    /// These requests get answers as of this block.
    Stale(Scope, u64),
    /// These requests get untrue answers: of what contracts say, and of transactions, logs and blocks where the endpoint is
    /// one of several. Who has one endpoint alone has nothing that tells a failed transaction from one that is said to be.
    Lies(Scope),
    /// These requests show the times of blocks by a wrong clock.
    Clock(Scope, Wrong),
    /// Transactions among these requests are kept back for so long.
    Delay(Scope, Duration),
    /// Transactions among these requests are kept back, each for a time of its own that is no longer than this.
    Reorder(Scope, Duration),
    /// Transactions among these requests are thrown away with this chance.
    Drop(Scope, f64),
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
    pub(super) fn verdict(&self, asked: Asked<'_>, drawn: f64) -> Verdict {
        let sends = method(asked.request) == Some("eth_sendRawTransaction");
        let covered = |scope: &Scope| scope.covers(asked.from, asked.endpoint);
        match self {
            Trouble::Outage(scope) if covered(scope) => Verdict::Silence,
            Trouble::Delay(scope, by) if sends && covered(scope) => Verdict::Later(*by),
            Trouble::Reorder(scope, by) if sends && covered(scope) => {
                Verdict::Later(by.mul_f64(drawn))
            }
            Trouble::Drop(scope, share) if sends && covered(scope) && drawn < *share => {
                Verdict::Lost
            }
            _ => Verdict::Answer,
        }
    }

    /// Makes a request ask for what this trouble shows. Whether it has changed.
    pub(super) fn bend_request(&self, from: IpAddr, endpoint: usize, request: &mut Value) -> bool {
        let Trouble::Stale(scope, block) = self else {
            return false;
        };
        if !scope.covers(from, endpoint) {
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
    pub(super) fn bend_answer(&self, asked: Asked<'_>, answer: &mut Value) -> bool {
        let Some(result) = answer.get_mut("result") else {
            return false;
        };
        let covered = |scope: &Scope| scope.covers(asked.from, asked.endpoint);
        match self {
            Trouble::Stale(scope, block) if covered(scope) => {
                if method(asked.request) == Some("eth_blockNumber") {
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
            Trouble::Clock(scope, wrong) if covered(scope) => {
                let by = wrong.at(asked.now);
                let Some(time) = result.get_mut("timestamp").filter(|_| by != 0) else {
                    return false;
                };
                let Some(seconds) = quantity(time) else {
                    return false;
                };
                *time = json!(format!("{:#x}", seconds.saturating_add_signed(by)));
                true
            }
            Trouble::Lies(scope) if covered(scope) => {
                match (method(asked.request), scope.endpoint) {
                    // Another count, another flag, another address.
                    (Some("eth_call"), _) => flip(Some(result)),
                    (Some("eth_getTransactionReceipt"), Some(_)) => flip(result.get_mut("status")),
                    (Some("eth_getBlockByNumber"), Some(_)) => flip(result.get_mut("hash")),
                    (Some("eth_getLogs"), Some(_)) => {
                        flip(result.get_mut(0).and_then(|log| log.get_mut("data")))
                    }
                    _ => false,
                }
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

/// Changes the last bit of a value in hex. Whether there was one.
fn flip(value: Option<&mut Value>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let Some(text) = value.as_str().filter(|text| text.len() > 2) else {
        return false;
    };
    let (rest, last) = text.split_at(text.len() - 1);
    let Some(digit) = last.chars().next().and_then(|c| c.to_digit(16)) else {
        return false;
    };
    *value = json!(format!("{rest}{:x}", digit ^ 1));
    true
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

    fn two() -> IpAddr {
        [10, 0, 0, 2].into()
    }

    fn of_one(endpoint: Option<usize>) -> Scope {
        Scope {
            hosts: [one()].into(),
            endpoint,
        }
    }

    fn asked(from: IpAddr, request: &Value) -> Asked<'_> {
        Asked {
            from,
            endpoint: 1,
            request,
            now: Duration::from_secs(100),
        }
    }

    #[test]
    fn a_stale_endpoint_speaks_of_an_old_block_only() {
        let trouble = Trouble::Stale(of_one(None), 16);
        let mut request = json!({"method": "eth_call", "params": [{"to": "0x01"}, "latest"]});
        assert!(trouble.bend_request(one(), 1, &mut request));
        assert_eq!(request["params"][1], "0x10");
        assert!(!trouble.bend_request(two(), 1, &mut request));
        let mut receipt = json!({"result": {"blockNumber": "0x11", "status": "0x1"}});
        assert!(trouble.bend_answer(asked(one(), &request), &mut receipt));
        assert_eq!(receipt["result"], Value::Null);
        let mut logs = json!({"result": [{"blockNumber": "0x10"}, {"blockNumber": "0x11"}]});
        assert!(trouble.bend_answer(asked(one(), &request), &mut logs));
        assert_eq!(logs["result"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_lie_changes_what_a_contract_says_and_nothing_else() {
        let trouble = Trouble::Lies(of_one(None));
        let call = json!({"method": "eth_call", "params": []});
        let mut answer = json!({"result": "0x0001"});
        assert!(trouble.bend_answer(asked(one(), &call), &mut answer));
        assert_eq!(answer["result"], "0x0000");
        let other = json!({"method": "eth_chainId", "params": []});
        assert!(!trouble.bend_answer(asked(one(), &other), &mut answer));
    }

    #[test]
    fn one_endpoint_in_trouble_leaves_the_others() {
        let request = json!({"method": "eth_blockNumber", "params": []});
        let silent = Trouble::Outage(of_one(Some(2)));
        assert_eq!(silent.verdict(asked(one(), &request), 0.0), Verdict::Answer);
        let at_second = Asked {
            endpoint: 2,
            ..asked(one(), &request)
        };
        assert_eq!(silent.verdict(at_second, 0.0), Verdict::Silence);
        let of_other = Asked {
            from: two(),
            ..at_second
        };
        assert_eq!(silent.verdict(of_other, 0.0), Verdict::Answer);
    }

    #[test]
    fn a_wrong_clock_shows_blocks_at_another_time() {
        let request = json!({"method": "eth_getBlockByNumber", "params": ["latest", false]});
        let shown = |wrong, from| {
            let mut answer = json!({"result": {"number": "0x1", "timestamp": "0x3e8"}});
            let bent =
                Trouble::Clock(of_one(None), wrong).bend_answer(asked(from, &request), &mut answer);
            (bent, quantity(&answer["result"]["timestamp"]))
        };
        assert_eq!(shown(Wrong::Steadily(60), one()), (true, Some(1_060)));
        assert_eq!(shown(Wrong::Steadily(-60), one()), (true, Some(940)));
        assert_eq!(shown(Wrong::Steadily(60), two()), (false, Some(1_000)));
        let growing = |from| Wrong::Growing {
            by: -50,
            from: Duration::from_secs(from),
            over: Duration::from_secs(80),
        };
        // Half of the time has passed, all of it, and none.
        assert_eq!(shown(growing(60), one()), (true, Some(975)));
        assert_eq!(shown(growing(10), one()), (true, Some(950)));
        assert_eq!(shown(growing(100), one()), (false, Some(1_000)));
        // What has no time is left alone.
        let mut number = json!({"result": "0x10"});
        let clock = Trouble::Clock(of_one(None), Wrong::Steadily(60));
        assert!(!clock.bend_answer(asked(one(), &request), &mut number));
    }

    #[test]
    fn one_of_several_endpoints_lies_about_everything_and_the_only_one_about_contracts() {
        let lie = |endpoint, method, result: Value| {
            let request = json!({"method": method, "params": []});
            let mut answer = json!({"result": result});
            let lies = Trouble::Lies(of_one(endpoint));
            let lied = lies.bend_answer(asked(one(), &request), &mut answer);
            assert_eq!(lied, answer["result"] != result, "{method}");
            lied
        };
        let answers = [
            ("eth_call", json!("0x2a"), true),
            ("eth_getTransactionReceipt", json!({"status": "0x1"}), false),
            ("eth_getBlockByNumber", json!({"hash": "0x12"}), false),
            ("eth_getLogs", json!([{"data": "0x34"}]), false),
        ];
        for (method, result, alone) in answers {
            assert!(lie(Some(1), method, result.clone()), "{method}");
            assert_eq!(lie(None, method, result), alone, "{method}");
        }
        assert!(!lie(Some(1), "eth_getLogs", json!([])));
        assert!(!lie(Some(1), "eth_blockNumber", json!("0x10")));
    }

    #[test]
    fn only_transactions_are_kept_back_or_lost() {
        let send = json!({"method": "eth_sendRawTransaction", "params": ["0x00"]});
        let read = json!({"method": "eth_blockNumber", "params": []});
        let delay = Trouble::Delay(of_one(None), Duration::from_secs(9));
        assert_eq!(
            delay.verdict(asked(one(), &send), 0.0),
            Verdict::Later(Duration::from_secs(9))
        );
        assert_eq!(delay.verdict(asked(one(), &read), 0.0), Verdict::Answer);
        let reorder = Trouble::Reorder(of_one(None), Duration::from_secs(9));
        let later = |drawn| reorder.verdict(asked(one(), &send), drawn);
        assert_eq!(later(0.0), Verdict::Later(Duration::ZERO));
        assert_eq!(later(0.5), Verdict::Later(Duration::from_millis(4_500)));
        let lost = Trouble::Drop(of_one(None), 0.5);
        assert_eq!(lost.verdict(asked(one(), &send), 0.4), Verdict::Lost);
        assert_eq!(lost.verdict(asked(one(), &send), 0.6), Verdict::Answer);
        assert_eq!(hash_of(&send), Some(keccak256([0u8])));
    }
}
