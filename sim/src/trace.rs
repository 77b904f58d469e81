//! The record of a run: one line for each event and each message sent, and one hash over all lines.
//!
//! A line is a JSON object with virtual time in nanoseconds from the start of the run (`t`) and the host it happened on
//! (`host`). Events of the crates `smartnodes_*` carry `level`, `target`, `message` and `fields`; messages on the wire
//! carry `to` and `bytes`. Two runs are the same run exactly if their lines are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::runtime::Handle;
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use self::recent::Recent;
pub use self::recent::in_words;

mod recent;

/// Name of the host that is none: the simulator itself.
pub const SIMULATOR: &str = "simulator";

/// Prefix of the targets whose events are recorded: the workspace's crates.
pub const TARGET_PREFIX: &str = "smartnodes_";

/// A handle to the run's record. Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

/// Called with each event of the workspace's crates while the run goes on.
pub type Watcher = Box<dyn FnMut(&Seen<'_>) + Send>;

/// An event as a [`Watcher`] sees it.
pub struct Seen<'a> {
    /// The host it happened on.
    pub host: &'a str,
    /// The module that told it.
    pub target: &'a str,
    /// What happened.
    pub message: &'a str,
    /// With which values.
    pub fields: &'a Map<String, Value>,
}

struct Inner {
    /// Whether a run is going on; outside there is no virtual time and no current host.
    recording: bool,
    hasher: Sha256,
    lines: u64,
    last_line: Duration,
    sink: Option<Box<dyn Write + Send>>,
    sink_error: Option<io::Error>,
    nodes: BTreeMap<NodeId, Arc<str>>,
    addresses: BTreeMap<IpAddr, Arc<str>>,
    traffic: BTreeMap<(Arc<str>, Arc<str>), Traffic>,
    connection_ids: Renumbering,
    watcher: Option<Watcher>,
    recent: Recent,
    /// Accounts and PeerIds in small letters, and whose they are.
    owners: BTreeMap<String, Arc<str>>,
}

/// What went over a link, in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Number of messages.
    pub messages: u64,
    /// Their bytes, before the simulated network's own overhead, of which it has none.
    pub bytes: u64,
}

/// The end of a record.
#[derive(Debug)]
pub struct Recorded {
    /// SHA-256 over all lines, in hexadecimal.
    pub hash: String,
    /// Number of lines.
    pub lines: u64,
    /// Virtual time of the end, or of the last line where the run broke off.
    pub ended: Duration,
    /// Traffic by sender and receiver.
    pub traffic: BTreeMap<(String, String), Traffic>,
    /// Why the lines could not all be written, if they could not.
    pub write_error: Option<io::Error>,
}

impl Trace {
    /// An empty record; its lines also go to `sink`.
    pub fn new(sink: Option<Box<dyn Write + Send>>) -> Trace {
        Trace(Arc::new(Mutex::new(Inner {
            recording: false,
            hasher: Sha256::new(),
            lines: 0,
            last_line: Duration::ZERO,
            sink,
            sink_error: None,
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            traffic: BTreeMap::new(),
            connection_ids: Renumbering::default(),
            watcher: None,
            recent: Recent::default(),
            owners: BTreeMap::new(),
        })))
    }

    /// The layer that records events; give it to the subscriber of the process.
    pub fn layer(&self) -> TraceLayer {
        TraceLayer(self.clone())
    }

    /// Makes a host known by its address, so that messages to it can be named.
    pub fn add_address(&self, address: IpAddr, host: &str) {
        self.lock().addresses.insert(address, host.into());
    }

    /// Makes a host known by the runtime's number, so that its events can be named.
    pub fn add_node(&self, node: NodeId, host: &str) {
        self.lock().nodes.insert(node, host.into());
    }

    /// Makes a host known by a name that events have for it: an account, a PeerId.
    pub fn add_owner(&self, of: &str, host: &str) {
        let of = of.to_ascii_lowercase();
        self.lock().owners.insert(of, host.into());
    }

    /// The hosts that a text names, one way or another, and the one that says so now, if it is one.
    pub(crate) fn hosts_in(&self, text: &str) -> Vec<String> {
        let inner = self.lock();
        let known = |word: &str| {
            let mut names = inner.nodes.values();
            let named = names.find(|name| ***name == *word);
            named.or_else(|| inner.owners.get(&word.to_ascii_lowercase()))
        };
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let named = words.filter_map(known);
        let here = TimeHandle::try_current()
            .is_some()
            .then(|| inner.nodes.get(&madsim::plugin::node()))
            .flatten();
        let hosts: BTreeSet<&Arc<str>> = named.chain(here).collect();
        hosts.into_iter().map(|host| host.to_string()).collect()
    }

    /// The host whose task runs now; `None` if none does, or if the record itself is what has panicked.
    pub(crate) fn here(&self) -> Option<Arc<str>> {
        TimeHandle::try_current()?;
        let inner = self.0.try_lock().ok()?;
        inner.nodes.get(&madsim::plugin::node()).cloned()
    }

    /// The last events up to `until` that concern these hosts, in words.
    pub(crate) fn last_events(&self, until: Duration, hosts: &[String]) -> Vec<String> {
        self.lock().recent.told(until, hosts)
    }

    /// Sets who is told of events, besides the record.
    pub fn watch(&self, watcher: Watcher) {
        self.lock().watcher = Some(watcher);
    }

    /// Begins to record. To be called inside the runtime, as is everything until [`Trace::finish`].
    pub fn start(&self) {
        self.lock().recording = true;
    }

    /// Ends the record. What follows, such as the end of hosts when the runtime goes away, is not part of the run.
    pub fn finish(&self) -> Recorded {
        let mut inner = self.lock();
        inner.recording = false;
        inner.watcher = None;
        if let Some(Err(error)) = inner.sink.as_mut().map(|sink| sink.flush()) {
            inner.sink_error.get_or_insert(error);
        }
        let names = |((from, to), traffic): (&(Arc<str>, Arc<str>), &Traffic)| {
            ((from.to_string(), to.to_string()), *traffic)
        };
        Recorded {
            hash: format!("{:x}", inner.hasher.clone().finalize()),
            lines: inner.lines,
            ended: TimeHandle::try_current().map_or(inner.last_line, |time| time.elapsed()),
            traffic: inner.traffic.iter().map(names).collect(),
            write_error: inner.sink_error.take(),
        }
    }

    /// Virtual time since the start of the run.
    pub fn now() -> Duration {
        TimeHandle::try_current().map_or(Duration::ZERO, |time| time.elapsed())
    }

    /// Number of messages sent so far.
    pub fn messages(&self) -> u64 {
        self.lock().traffic.values().map(|t| t.messages).sum()
    }

    /// Records a message from a host to the host at an address.
    pub(crate) fn sent(&self, from: &Arc<str>, to: IpAddr, bytes: usize) {
        let mut inner = self.lock();
        if !inner.recording {
            return;
        }
        let to = inner
            .addresses
            .get(&to)
            .cloned()
            .unwrap_or_else(|| to.to_string().into());
        let mut line = line_start(from);
        // Writing to a string cannot fail.
        let _ = write!(line, ",\"to\":\"{to}\",\"bytes\":{bytes}}}");
        inner.push(&line);
        let traffic = inner.traffic.entry((from.clone(), to)).or_default();
        traffic.messages += 1;
        traffic.bytes += bytes as u64;
    }

    fn event(&self, event: &Event<'_>) {
        let mut inner = self.lock();
        if !inner.recording {
            return;
        }
        let node = madsim::plugin::node();
        let host = match inner.nodes.get(&node) {
            // A process that has been killed may run on to its next wait: nothing of that has happened.
            Some(_) if Handle::current().is_exit(node) => return,
            Some(host) => host.clone(),
            None => SIMULATOR.into(),
        };
        let mut values = Values {
            message: String::new(),
            fields: Map::new(),
            ids: &mut inner.connection_ids,
        };
        event.record(&mut values);
        let Values {
            message, fields, ..
        } = values;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let mut line = line_start(&host);
        let _ = write!(
            line,
            ",\"level\":\"{level}\",\"target\":\"{target}\",\"message\":{}",
            Value::from(&*message)
        );
        if !fields.is_empty() {
            let fields = serde_json::to_string(&fields)
                .expect("a map with text keys and plain values is JSON");
            let _ = write!(line, ",\"fields\":{fields}");
        }
        line.push('}');
        inner.push(&line);
        if *level <= Level::INFO && message != "violation" {
            inner
                .recent
                .keep(Trace::now(), &host, level.as_str(), &line);
        }
        // Taken out while it runs, so that it may itself tell of something.
        let Some(mut watcher) = inner.watcher.take() else {
            return;
        };
        drop(inner);
        watcher(&Seen {
            host: &host,
            target,
            message: &message,
            fields: &fields,
        });
        self.lock().watcher.get_or_insert(watcher);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, line: &str) {
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.lines += 1;
        self.last_line = Trace::now();
        if let Some(sink) = &mut self.sink
            && let Err(error) = writeln!(sink, "{line}")
        {
            // A full disk must not change the run; it is told at the end.
            self.sink_error = Some(error);
            self.sink = None;
        }
    }
}

fn line_start(host: &str) -> String {
    format!("{{\"t\":{},\"host\":\"{host}\"", Trace::now().as_nanos())
}

/// Puts the events of the workspace's crates into a [`Trace`].
pub struct TraceLayer(Trace);

impl<S: Subscriber> Layer<S> for TraceLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with(TARGET_PREFIX) {
            self.0.event(event);
        }
    }
}

/// Collects an event's values as JSON, in the order of their names.
struct Values<'a> {
    message: String,
    fields: Map<String, Value>,
    ids: &'a mut Renumbering,
}

impl Values<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = self.ids.apply(format!("{value:?}"));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value.to_string().into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// Replaces libp2p's connection and listener numbers, which count on through a whole process, by the order in which
/// they first appear in the record.
#[derive(Default)]
struct Renumbering {
    known: BTreeMap<String, usize>,
}

impl Renumbering {
    fn apply(&mut self, text: String) -> String {
        let kinds = ["ConnectionId(", "ListenerId("];
        if !kinds.iter().any(|kind| text.contains(kind)) {
            return text;
        }
        let mut renumbered = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(end) = kinds
            .iter()
            .filter_map(|kind| Some(rest.find(kind)? + kind.len()))
            .min()
        {
            let digits = rest[end..]
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len() - end);
            let start = rest[..end]
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '(')
                .map_or(0, |i| i + 1);
            let next = self.known.len() + 1;
            let number = *self
                .known
                .entry(rest[start..end + digits].to_owned())
                .or_insert(next);
            renumbered.push_str(&rest[..end]);
            renumbered.push_str(&number.to_string());
            rest = &rest[end + digits..];
        }
        renumbered.push_str(rest);
        renumbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_numbers_become_the_order_of_their_appearance() {
        let mut ids = Renumbering::default();
        let first = ids.apply("a: ConnectionId(912), b: ConnectionId(7)".to_owned());
        assert_eq!(first, "a: ConnectionId(1), b: ConnectionId(2)");
        assert_eq!(
            ids.apply("Some(ListenerId(912)) ConnectionId(7)".to_owned()),
            "Some(ListenerId(3)) ConnectionId(2)"
        );
        assert_eq!(ids.apply("plain (7)".to_owned()), "plain (7)");
    }
}
