//! The latest events of a run, kept to be told with what did not hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::SIMULATOR;

/// Events that are kept: among them are those of the few hosts that something concerns.
const KEPT: usize = 512;
/// How many of them are told.
const TOLD: usize = 10;
/// Levels of events that tell of the run as a whole, beside all of the simulator: what goes wrong.
const NOTABLE: [&str; 2] = ["WARN", "ERROR"];
/// The chain's host: what happens there concerns everybody.
const CHAIN: &str = "chain";

/// Two rings: the latest events, and the latest of those that tell of the run as a whole.
#[derive(Default)]
pub(super) struct Recent {
    all: Ring,
    notable: Ring,
}

#[derive(Default)]
struct Ring(VecDeque<Kept>);

struct Kept {
    at: Duration,
    host: Arc<str>,
    line: String,
}

impl Recent {
    /// Keeps an event as the line of the trace that it is.
    pub(super) fn keep(&mut self, at: Duration, host: &Arc<str>, level: &str, line: &str) {
        self.all.keep(at, host, line);
        if **host == *SIMULATOR || NOTABLE.contains(&level) {
            self.notable.keep(at, host, line);
        }
    }

    /// The last ones up to `until` on these hosts, on the chain, and of the simulator, in words. If no host is given, what
    /// the simulator did and what went wrong, on all.
    pub(super) fn told(&self, until: Duration, hosts: &[String]) -> Vec<String> {
        if hosts.is_empty() {
            return self.notable.told(until, |_| true);
        }
        self.all.told(until, |host| {
            hosts.iter().any(|named| named == host) || [SIMULATOR, CHAIN].contains(&host)
        })
    }
}

impl Ring {
    fn keep(&mut self, at: Duration, host: &Arc<str>, line: &str) {
        // The oldest one's memory serves again.
        let mut kept = match self.0.len() {
            KEPT => self.0.pop_front().map_or_else(String::new, |old| old.line),
            _ => String::new(),
        };
        kept.clear();
        kept.push_str(line);
        self.0.push_back(Kept {
            at,
            host: host.clone(),
            line: kept,
        });
    }

    fn told(&self, until: Duration, concerns: impl Fn(&str) -> bool) -> Vec<String> {
        let mut last: Vec<String> = self
            .0
            .iter()
            .rev()
            .filter(|kept| kept.at <= until && concerns(&kept.host))
            .take(TOLD)
            .map(|kept| in_words(&kept.line))
            .collect();
        last.reverse();
        last
    }
}

/// A line of a trace in words, with its virtual time and host.
pub fn in_words(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return format!("`{line}`");
    };
    let seconds = fields.get("t").and_then(Value::as_u64).unwrap_or_default() as f64 / 1e9;
    let host = fields.get("host").and_then(Value::as_str).unwrap_or("?");
    let event = match (
        fields.get("to").and_then(Value::as_str),
        fields.get("message").and_then(Value::as_str),
    ) {
        (Some(to), _) => format!(
            "sends {} bytes to {to}",
            fields.get("bytes").unwrap_or(&Value::Null)
        ),
        (None, Some(message)) => match fields.get("fields") {
            Some(values) => format!("{message:?} {values}"),
            None => format!("{message:?}"),
        },
        (None, None) => format!("`{line}`"),
    };
    format!("at {seconds:.9} s {host} {event}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_those_of_the_hosts_the_chain_and_the_simulator() {
        let mut recent = Recent::default();
        let hosts = ["validator-1", "worker-1", "chain", "simulator"].map(Arc::from);
        for second in 0..2_000 {
            let host: &Arc<str> = &hosts[second % 4];
            let nanos = second * 1_000_000_000;
            let line = format!("{{\"t\":{nanos},\"host\":\"{host}\",\"message\":\"at work\"}}");
            let level = if second < 8 { "WARN" } else { "DEBUG" };
            recent.keep(Duration::from_secs(second as u64), host, level, &line);
        }
        let told = recent.told(Duration::from_secs(1_990), &["worker-1".to_owned()]);
        assert_eq!(told.len(), TOLD);
        assert!(told.iter().all(|words| !words.contains("validator-1")));
        assert_eq!(
            told[TOLD - 1],
            "at 1990.000000000 s chain \"at work\"",
            "what comes later is not told"
        );
        assert!(told[0] < told[1], "{told:?}");
        assert_eq!(recent.all.0.len(), KEPT);
    }

    #[test]
    fn of_no_host_in_particular_what_went_wrong_is_told_however_long_ago() {
        let mut recent = Recent::default();
        let (host, simulator) = (Arc::from("validator-1"), Arc::from("simulator"));
        let line = |message: &str| format!("{{\"t\":0,\"message\":\"{message}\"}}");
        recent.keep(Duration::ZERO, &host, "WARN", &line("alarm"));
        recent.keep(Duration::ZERO, &simulator, "INFO", &line("fault"));
        for second in 1..2_000 {
            recent.keep(
                Duration::from_secs(second),
                &host,
                "DEBUG",
                &line("at work"),
            );
        }
        let told = recent.told(Duration::MAX, &[]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("alarm") && told[1].contains("fault"),
            "{told:?}"
        );
    }
}
