//! A run's trace as a story in words, while it goes on.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::page::Timeline;

/// Longest value that is shown whole; of a longer one, such as a hash, the beginning.
const VALUE_CHARS_MAX: usize = 24;

/// A sink for trace lines: tells those that matter, and collects all for a page.
pub struct Teller {
    /// Virtual time after which nothing is told.
    until: Duration,
    timeline: Arc<Mutex<Timeline>>,
    /// What has been written of the line that is not complete yet.
    line: Vec<u8>,
}

impl Teller {
    /// Tells up to `until`; everything goes into `timeline` too.
    pub fn new(until: Duration, timeline: Arc<Mutex<Timeline>>) -> Teller {
        Teller {
            until,
            timeline,
            line: Vec::new(),
        }
    }

    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        let line: Value = serde_json::from_slice(line)?;
        if time(&line) > self.until {
            return Ok(());
        }
        let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        timeline.add(&line);
        drop(timeline);
        match words(&line) {
            Some(words) => writeln!(io::stdout(), "{words}"),
            None => Ok(()),
        }
    }
}

impl Write for Teller {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(&line)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// When a line of the trace was written, in virtual time.
pub(super) fn time(line: &Value) -> Duration {
    Duration::from_nanos(line["t"].as_u64().unwrap_or(0))
}

/// An event in words: time, host, what happened, with which values. `None` for messages and for what is told for
/// debugging only.
fn words(line: &Value) -> Option<String> {
    let level = line["level"].as_str()?;
    if !matches!(level, "INFO" | "WARN" | "ERROR") {
        return None;
    }
    let mark = match level {
        "INFO" => ' ',
        "WARN" => '!',
        _ => 'X',
    };
    let seconds = time(line).as_secs_f64();
    let clock = format!(
        "{}:{:02}:{:06.3}",
        (seconds / 3600.0) as u64,
        (seconds / 60.0) as u64 % 60,
        seconds % 60.0
    );
    let host = line["host"].as_str().unwrap_or("?");
    let message = line["message"].as_str().unwrap_or_default();
    Some(
        format!("{clock:>13} {mark} {host:<13} {message} {}", values(line))
            .trim_end()
            .to_owned(),
    )
}

/// The values of an event, as `name=value`.
pub(super) fn values(line: &Value) -> String {
    let Some(fields) = line["fields"].as_object() else {
        return String::new();
    };
    let word = |(name, value): (&String, &Value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        // Hashes and addresses are known by their beginning; words are shown whole.
        let long = text.chars().count() > VALUE_CHARS_MAX && !text.contains(' ');
        if long {
            let short: String = text.chars().take(10).collect();
            return format!("{name}={short}…");
        }
        format!("{name}={text}")
    };
    fields.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_and_messages_are_not() {
        let told = |line: &str| words(&serde_json::from_str(line).expect("JSON"));
        let event = r#"{"t":3723004000000,"host":"validator-1","level":"INFO","target":"x","message":"voted",
            "fields":{"round":2,"proposal":"0x0123456789abcdef0123456789abcdef"}}"#;
        assert_eq!(
            told(event).as_deref(),
            Some("  1:02:03.004   validator-1   voted proposal=0x01234567… round=2")
        );
        assert_eq!(told(r#"{"t":1,"host":"a","to":"b","bytes":3}"#), None);
        let debug = r#"{"t":1,"host":"a","level":"DEBUG","target":"x","message":"m"}"#;
        assert_eq!(told(debug), None);
    }

    #[test]
    fn lines_that_come_in_pieces_are_put_together() {
        let timeline = Arc::new(Mutex::new(Timeline::default()));
        let mut teller = Teller::new(Duration::from_secs(1), timeline.clone());
        let text = "{\"t\":1,\"host\":\"a\",\"to\":\"b\",\"bytes\":3}\n{\"t\":2000000000,\"host\":\"a\",\"to\":\"b\",\"bytes\":3}\n";
        for piece in text.as_bytes().chunks(7) {
            teller.write_all(piece).expect("taken");
        }
        // The second is after the end.
        let messages = timeline.lock().expect("one thread").messages();
        assert_eq!(messages, 1);
    }
}
