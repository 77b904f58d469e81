//! A run as one self-contained page: hosts as lines, messages as arrows, faults as bands, events as marks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::story::{time, values};
use crate::run::Record;

/// Most messages that are drawn one by one; of more, each bundle of one link and moment is one arrow.
const MESSAGES_MAX: usize = 60_000;
/// Moments into which a run is cut for bundles, if these are not too many then.
const MOMENTS: u64 = 4_000;
/// The fewest.
const MOMENTS_MIN: u64 = 60;

const TEMPLATE: &str = include_str!("timeline.html");

/// Collects what a page shows.
#[derive(Debug, Default)]
pub struct Timeline {
    hosts: Vec<String>,
    /// Time in microseconds, sender, receiver, bytes.
    messages: Vec<(u64, usize, usize, u64)>,
    events: Vec<Value>,
    last: Duration,
}

impl Timeline {
    /// Adds a line of the trace.
    pub(super) fn add(&mut self, line: &Value) {
        let at = time(line);
        self.last = self.last.max(at);
        let micros = at.as_micros() as u64;
        let host = self.host(line["host"].as_str().unwrap_or("?"));
        if let Some(to) = line["to"].as_str() {
            let to = self.host(to);
            self.messages
                .push((micros, host, to, line["bytes"].as_u64().unwrap_or(0)));
            return;
        }
        let level = line["level"].as_str().unwrap_or_default();
        if level == "DEBUG" {
            return;
        }
        let message = line["message"].as_str().unwrap_or_default();
        self.events
            .push(json!([micros, host, level, message, values(line)]));
    }

    /// Number of messages.
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    fn host(&mut self, name: &str) -> usize {
        match self.hosts.iter().position(|host| host == name) {
            Some(place) => place,
            None => {
                self.hosts.push(name.to_owned());
                self.hosts.len() - 1
            }
        }
    }

    /// The page.
    pub fn page(&self, record: &Record) -> String {
        let order = |name: &String| {
            let groups = ["simulator", "chain", "validator", "worker", "user"];
            let (group, number) = name.split_once('-').unwrap_or((name, "0"));
            let group = groups
                .iter()
                .position(|g| *g == group)
                .unwrap_or(groups.len());
            (group, number.parse::<u64>().unwrap_or(0))
        };
        let mut rows: Vec<usize> = (0..self.hosts.len()).collect();
        rows.sort_by_key(|host| order(&self.hosts[*host]));
        let (bundled, messages) = self.arrows();
        // A replay may be asked to tell a part only.
        let end = self.last.as_micros() as u64;
        let violations: Vec<Value> = record
            .violations
            .iter()
            .filter(|v| (v.virtual_seconds * 1e6) as u64 <= end)
            .map(|v| json!([(v.virtual_seconds * 1e6) as u64, v.invariant, v.detail]))
            .collect();
        let places = |hosts: &mut dyn Iterator<Item = &str>| -> Vec<usize> {
            hosts
                .filter_map(|host| self.hosts.iter().position(|known| known == host))
                .collect()
        };
        let faults = record.faults.iter().map(|f| {
            let hosts = places(&mut f.hosts.iter().map(String::as_str));
            let from = (f.at_seconds * 1e6) as u64;
            let to = ((f.at_seconds + f.lasted_seconds) * 1e6) as u64;
            (from <= end).then(|| json!([from, to.min(end), f.kind, hosts, f.effect]))
        });
        let faults: Vec<Value> = faults.flatten().collect();
        let data = json!({
            "scenario": record.scenario,
            "seed": record.seed.to_string(),
            "outcome": record.outcome,
            "end": end,
            "hosts": self.hosts,
            "rows": rows,
            "bundled": bundled,
            "messages": messages,
            "events": self.events,
            "faults": faults,
            "violations": violations,
        });
        // Inside a script element nothing may look like its end.
        let data = data.to_string().replace("</", "<\\/");
        TEMPLATE.replacen("\"DATA\"", &data, 1)
    }

    /// Arrows as time, sender, receiver, bytes and count; and whether they are bundles.
    fn arrows(&self) -> (bool, Vec<Value>) {
        if self.messages.len() <= MESSAGES_MAX {
            let single = self
                .messages
                .iter()
                .map(|(at, from, to, bytes)| json!([at, from, to, bytes, 1]));
            return (false, single.collect());
        }
        let mut moments = MOMENTS;
        let (moment, bundles) = loop {
            let moment = (self.last.as_micros() as u64 / moments).max(1);
            let bundles = self.bundles(moment);
            // Many hosts have many links, and a page is to open at once.
            if bundles.len() <= MESSAGES_MAX || moments / 2 < MOMENTS_MIN {
                break (moment, bundles);
            }
            moments /= 2;
        };
        let arrows = bundles.iter().map(|((at, from, to), (bytes, count))| {
            json!([at * moment + moment / 2, from, to, bytes, count])
        });
        (true, arrows.collect())
    }

    /// Bytes and number of the messages of each moment (microseconds long), sender and receiver.
    fn bundles(&self, moment: u64) -> BTreeMap<(u64, usize, usize), (u64, u64)> {
        let mut bundles: BTreeMap<(u64, usize, usize), (u64, u64)> = BTreeMap::new();
        for (at, from, to, bytes) in &self.messages {
            let (sum, count) = bundles.entry((at / moment, *from, *to)).or_default();
            *sum += bytes;
            *count += 1;
        }
        bundles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_messages_become_bundles_that_add_up() {
        let mut timeline = Timeline::default();
        for t in 0..(MESSAGES_MAX as u64 + 5) {
            timeline.add(&json!({"t": t * 1_000_000, "host": "a", "to": "b", "bytes": 2}));
        }
        let (bundled, arrows) = timeline.arrows();
        assert!(bundled && arrows.len() <= MOMENTS as usize + 2);
        let count: u64 = arrows.iter().filter_map(|arrow| arrow[4].as_u64()).sum();
        assert_eq!(count, timeline.messages() as u64);
    }

    #[test]
    fn among_many_hosts_bundles_are_longer() {
        let mut timeline = Timeline::default();
        for t in 0..(2 * MESSAGES_MAX as u64) {
            let (from, to) = (t % 30, (t / 30 + 1 + t) % 30);
            let (from, to) = (format!("worker-{from}"), format!("worker-{to}"));
            timeline.add(&json!({"t": t * 1_000_000, "host": from, "to": to, "bytes": 2}));
        }
        let (bundled, arrows) = timeline.arrows();
        assert!(bundled && arrows.len() <= MESSAGES_MAX, "{}", arrows.len());
        let count: u64 = arrows.iter().filter_map(|arrow| arrow[4].as_u64()).sum();
        assert_eq!(count, timeline.messages() as u64);
    }
}
