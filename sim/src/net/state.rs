//! Connections, listeners and the agenda: a state machine that is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use madsim::rand::Rng;
use tokio::sync::oneshot;

use super::End;
use super::links::{Effect, Fate, Links, RETRANSMIT_MAX, Rule};

/// Bytes on their way to or waiting for one reader before its writer has to wait.
const WINDOW_BYTES: usize = 1 << 20;
/// How long a message of an open connection is sent again in vain before the connection breaks, as on Linux.
const GIVE_UP: Duration = Duration::from_secs(924);
/// How long a dial goes unanswered before it fails, as on Linux.
const DIAL_GIVE_UP: Duration = Duration::from_secs(127);
/// The first port that is given to a listener which asks for none, and to diallers.
const EPHEMERAL_FIRST: u16 = 49_152;

type Dialled = oneshot::Sender<Result<(), ErrorKind>>;

/// What travels on a connection.
#[derive(Debug)]
pub(super) enum Packet {
    /// A dial.
    Dial,
    /// Its answer: accepted or not.
    Answer(bool),
    /// Bytes.
    Data(Vec<u8>),
    /// The sender sends nothing more.
    Finish,
    /// The sender has closed its end.
    Left,
    /// The connection is broken.
    Reset,
}

#[derive(Debug)]
enum Event {
    Arrives {
        at: End,
        packet: Packet,
    },
    /// The sender at this end gives up if what it held then, it still holds.
    GiveUp {
        sender: End,
        held_since: Duration,
    },
}

#[derive(Debug, Default)]
struct Listener {
    waiting: VecDeque<End>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Connection {
    ends: [Half; 2],
    /// Where the dialler wanted to go.
    to: SocketAddr,
    dialler: SocketAddr,
    dialled: Option<Dialled>,
}

/// One end, with what comes to it and what it sends.
#[derive(Debug)]
struct Half {
    address: IpAddr,
    /// What has arrived and is not read yet.
    arrived: VecDeque<Vec<u8>>,
    /// How much of the first has been read.
    read: usize,
    /// Bytes on their way here, or here and not read.
    unread: usize,
    finished: bool,
    broken: Option<ErrorKind>,
    /// The owner has dropped it.
    left: bool,
    /// The other end has been dropped, as far as is known here.
    other_left: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// When the last message sent from here arrives: the next one comes no sooner.
    last_arrival: Duration,
    /// What waits here for the link to open.
    held: VecDeque<Packet>,
    held_since: Duration,
}

#[derive(Debug)]
pub(super) struct State {
    links: Links,
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: BTreeMap<u64, Connection>,
    agenda: BTreeMap<(Duration, u64), Event>,
    opened: u64,
    planned: u64,
}

impl Packet {
    fn bytes(&self) -> usize {
        match self {
            Packet::Data(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Half {
    fn new(address: IpAddr) -> Half {
        Half {
            address,
            arrived: VecDeque::new(),
            read: 0,
            unread: 0,
            finished: false,
            broken: None,
            left: false,
            other_left: false,
            reader: None,
            writer: None,
            last_arrival: Duration::ZERO,
            held: VecDeque::new(),
            held_since: Duration::ZERO,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn break_off(&mut self, kind: ErrorKind) {
        self.broken.get_or_insert(kind);
        self.arrived.clear();
        self.held.clear();
        self.wake();
    }
}

fn other(end: End) -> End {
    End {
        side: 1 - end.side,
        ..end
    }
}

impl State {
    pub(super) fn new(links: Links) -> State {
        State {
            links,
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            agenda: BTreeMap::new(),
            opened: 0,
            planned: 0,
        }
    }

    pub(super) fn next_event(&self) -> Option<Duration> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Carries out what is due, and says when something will be due next.
    pub(super) fn run_due(&mut self, now: Duration) -> Option<Duration> {
        loop {
            let entry = self.agenda.first_entry()?;
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            match entry.remove() {
                Event::Arrives { at, packet } => self.arrive(at, packet, now),
                Event::GiveUp { sender, held_since } => self.give_up(sender, held_since),
            }
        }
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), event);
    }

    fn half(&mut self, end: End) -> Option<&mut Half> {
        let connection = self.connections.get_mut(&end.connection)?;
        connection.ends.get_mut(end.side)
    }

    pub(super) fn dial(
        &mut self,
        from: IpAddr,
        to: SocketAddr,
        dialled: Dialled,
        now: Duration,
    ) -> End {
        self.opened += 1;
        let ports = u64::from(u16::MAX - EPHEMERAL_FIRST);
        let port = EPHEMERAL_FIRST + (self.opened % ports) as u16;
        let connection = Connection {
            ends: [Half::new(from), Half::new(to.ip())],
            to,
            dialler: SocketAddr::new(from, port),
            dialled: Some(dialled),
        };
        self.connections.insert(self.opened, connection);
        let end = End {
            connection: self.opened,
            side: 0,
        };
        self.transmit(end, Packet::Dial, now);
        end
    }

    /// Sends a packet on behalf of the owner of an end.
    pub(super) fn send(&mut self, from: End, packet: Packet, now: Duration) -> io::Result<()> {
        let bytes = packet.bytes();
        let Some(half) = self.half(from) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if let Some(kind) = half.broken {
            return Err(kind.into());
        }
        if half.other_left {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if let Some(reader) = self.half(other(from)) {
            reader.unread += bytes;
        }
        self.transmit(from, packet, now);
        Ok(())
    }

    /// Puts a packet on the link, behind those that wait for it.
    fn transmit(&mut self, from: End, packet: Packet, now: Duration) {
        let Some(connection) = self.connections.get_mut(&from.connection) else {
            return;
        };
        let (source, target) = (
            connection.ends[from.side].address,
            connection.ends[1 - from.side].address,
        );
        let half = &mut connection.ends[from.side];
        if !half.held.is_empty() {
            // Counted by the rule that holds it.
            let _ = self.links.fate(source, target, packet.bytes(), now);
            half.held.push_back(packet);
            return;
        }
        match self.links.fate(source, target, packet.bytes(), now) {
            Fate::Arrives(delay) => {
                let at = half.last_arrival.max(now + delay);
                half.last_arrival = at;
                let event = Event::Arrives {
                    at: other(from),
                    packet,
                };
                self.plan(at, event);
            }
            Fate::Held => {
                let patience = match packet {
                    Packet::Dial | Packet::Answer(_) => DIAL_GIVE_UP,
                    _ => GIVE_UP,
                };
                half.held.push_back(packet);
                half.held_since = now;
                let event = Event::GiveUp {
                    sender: from,
                    held_since: now,
                };
                self.plan(now + patience, event);
            }
            Fate::Refused => self.break_both(from.connection, ErrorKind::ConnectionReset),
        }
    }

    fn arrive(&mut self, at: End, packet: Packet, now: Duration) {
        let Some(connection) = self.connections.get_mut(&at.connection) else {
            return;
        };
        let half = &mut connection.ends[at.side];
        match packet {
            Packet::Dial => {
                let listener = self.listeners.get_mut(&connection.to);
                let accepted = listener.is_some();
                if let Some(listener) = listener {
                    listener.waiting.push_back(at);
                    if let Some(waker) = listener.waker.take() {
                        waker.wake();
                    }
                } else {
                    half.left = true;
                }
                self.transmit(at, Packet::Answer(accepted), now);
            }
            Packet::Answer(accepted) => {
                if let Some(dialled) = connection.dialled.take() {
                    let answer = if accepted {
                        Ok(())
                    } else {
                        Err(ErrorKind::ConnectionRefused)
                    };
                    // A dialler that no longer waits has closed its end.
                    let _ = dialled.send(answer);
                }
            }
            Packet::Data(bytes) => {
                if half.left {
                    self.transmit(at, Packet::Reset, now);
                } else if half.broken.is_none() {
                    half.arrived.push_back(bytes);
                    if let Some(waker) = half.reader.take() {
                        waker.wake();
                    }
                }
            }
            Packet::Finish => {
                half.finished = true;
                half.wake();
            }
            Packet::Left => {
                half.finished = true;
                half.other_left = true;
                half.wake();
            }
            Packet::Reset => half.break_off(ErrorKind::ConnectionReset),
        }
    }

    fn give_up(&mut self, sender: End, held_since: Duration) {
        let gives_up = self
            .half(sender)
            .is_some_and(|half| !half.held.is_empty() && half.held_since == held_since);
        if gives_up {
            self.break_both(sender.connection, ErrorKind::TimedOut);
        }
    }

    fn break_both(&mut self, connection: u64, kind: ErrorKind) {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return;
        };
        for half in &mut connection.ends {
            half.break_off(kind);
        }
        if let Some(dialled) = connection.dialled.take() {
            let _ = dialled.send(Err(kind));
        }
    }

    /// The owner of an end drops it.
    pub(super) fn leave(&mut self, end: End, now: Duration) {
        let Some(half) = self.half(end) else {
            return;
        };
        half.left = true;
        half.arrived.clear();
        half.unread = 0;
        if half.broken.is_none() && !half.other_left {
            self.transmit(end, Packet::Left, now);
        }
        let over = self
            .connections
            .get(&end.connection)
            .is_some_and(|connection| connection.ends.iter().all(|half| half.left));
        if over {
            self.connections.remove(&end.connection);
        }
    }

    pub(super) fn listen(&mut self, mut at: SocketAddr) -> io::Result<SocketAddr> {
        if at.port() == 0 {
            let free = |port: &u16| {
                let here = SocketAddr::new(at.ip(), *port);
                !self.listeners.contains_key(&here)
            };
            let port = (EPHEMERAL_FIRST..=u16::MAX).find(free);
            at.set_port(port.ok_or(ErrorKind::AddrInUse)?);
        }
        if self.listeners.contains_key(&at) {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.listeners.insert(at, Listener::default());
        Ok(at)
    }

    pub(super) fn close_listener(&mut self, at: SocketAddr, now: Duration) {
        if let Some(listener) = self.listeners.remove(&at) {
            for end in listener.waiting {
                self.leave(end, now);
            }
        }
    }

    pub(super) fn poll_accept(
        &mut self,
        at: SocketAddr,
        waker: &Waker,
    ) -> Poll<io::Result<(End, SocketAddr)>> {
        let Some(listener) = self.listeners.get_mut(&at) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        match listener.waiting.pop_front() {
            Some(end) => {
                let connection = self.connections.get(&end.connection);
                let from = connection.map_or(at, |connection| connection.dialler);
                Poll::Ready(Ok((end, from)))
            }
            None => {
                listener.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_read(
        &mut self,
        end: End,
        waker: &Waker,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(half) = self.half(end) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if let Some(kind) = half.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let mut filled = 0;
        while filled < buf.len()
            && let Some(first) = half.arrived.front()
        {
            let rest = &first[half.read..];
            let count = rest.len().min(buf.len() - filled);
            buf[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            half.read += count;
            if half.read == first.len() {
                half.arrived.pop_front();
                half.read = 0;
            }
        }
        half.unread = half.unread.saturating_sub(filled);
        let room = half.unread < WINDOW_BYTES;
        if filled > 0 {
            if room && let Some(writer) = self.half(other(end)).and_then(|half| half.writer.take())
            {
                writer.wake();
            }
            return Poll::Ready(Ok(filled));
        }
        if half.finished || buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        half.reader = Some(waker.clone());
        Poll::Pending
    }

    pub(super) fn poll_ready(&mut self, end: End, waker: &Waker) -> Poll<io::Result<()>> {
        let waiting = self.half(other(end)).map_or(0, |half| half.unread);
        let Some(half) = self.half(end) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if let Some(kind) = half.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if half.other_left || waiting < WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        half.writer = Some(waker.clone());
        Poll::Pending
    }

    pub(super) fn add_rule(&mut self, rule: Rule) -> u64 {
        let (these, those) = (rule.these.clone(), rule.those.clone());
        let refuses = matches!(rule.effect, Effect::Refuse);
        let id = self.links.add(rule);
        if refuses {
            let broken = self.reset(&these, &those);
            self.links.touch(id, broken);
        }
        id
    }

    pub(super) fn remove_rule(&mut self, id: u64, now: Duration) -> u64 {
        let touched = self.links.remove(id);
        let mut open = Vec::new();
        for (number, connection) in &self.connections {
            for side in [0, 1] {
                let half = &connection.ends[side];
                let target = connection.ends[1 - side].address;
                if !half.held.is_empty() && !self.links.holds(half.address, target) {
                    open.push(End {
                        connection: *number,
                        side,
                    });
                }
            }
        }
        for end in open {
            self.release(end, now);
        }
        touched
    }

    /// Sends what was held, when its sender next tries: the longer it was in vain, the rarer it tries.
    fn release(&mut self, end: End, now: Duration) {
        let Some(half) = self.half(end) else {
            return;
        };
        let wait = now.saturating_sub(half.held_since).min(RETRANSMIT_MAX);
        let tries = now + madsim::rand::thread_rng().gen_range(Duration::ZERO..=wait);
        half.last_arrival = half.last_arrival.max(tries);
        for packet in std::mem::take(&mut half.held) {
            self.transmit(end, packet, now);
        }
    }

    pub(super) fn reset(&mut self, these: &BTreeSet<IpAddr>, those: &BTreeSet<IpAddr>) -> u64 {
        let between = |connection: &Connection| {
            let [a, b] = [&connection.ends[0], &connection.ends[1]];
            let open = a.broken.is_none() && !(a.left && b.left);
            let (a, b) = (a.address, b.address);
            open && ((these.contains(&a) && those.contains(&b))
                || (these.contains(&b) && those.contains(&a)))
        };
        let concerned: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| between(connection))
            .map(|(number, _)| *number)
            .collect();
        for number in &concerned {
            self.break_both(*number, ErrorKind::ConnectionReset);
        }
        concerned.len() as u64
    }
}
