//! A process that uses a ring as it is told, and says how that went: one command, one answer.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use ringduct::{
    Consumer, Corruption, Location, Observer, OpenError, Options, Producer, RecvError, Ring,
    SendError, TryRecvError, TrySendError,
};

use crate::kernel;
use crate::message::message;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many messages make a stream.
const STREAM: u64 = 300;

/// What became of a command; the error in words that a test compares.
type Answer = Result<u64, String>;

#[derive(Debug, Default)]
struct Agent {
    ring: Option<Ring>,
    tx: Option<Producer>,
    rx: Option<Consumer>,
    observer: Option<Observer>,
    /// Messages sent or taken so far.
    next: u64,
}

pub(crate) fn main() {
    let mut agent = Agent::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match agent.obey(command, argument) {
            Ok(number) => say(&format!("ok {number}")),
            Err(error) => say(&error),
        }
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

impl Agent {
    fn obey(&mut self, command: &str, argument: &str) -> Answer {
        match command {
            "count" => Ok(self.next),
            // So many messages must come.
            "take" => self.take(argument.parse().unwrap()),
            // As many as fit.
            "fill" => match self.go() {
                Err(why) if why == "Full" => Ok(self.next),
                other => other,
            },
            // Without waiting, until something happens.
            "go" => self.go(),
            // One more, waiting for it.
            "wait" => self.wait().map(|()| self.next),
            // On and on, waiting, until something happens.
            "stream" => self.stream(),
            "position" => Ok(self.tx.as_ref().unwrap().totals().position),
            "look" => self.look(),
            "leave" => {
                (self.tx, self.rx) = (None, None);
                Ok(0)
            }
            "uid" => {
                kernel::become_user(argument.parse().unwrap());
                Ok(0)
            }
            "open" => {
                let place = Location::from(PathBuf::from(argument));
                self.ring = Some(Options::new().open(&place).map_err(refusal)?);
                Ok(0)
            }
            _ if self.ring.is_some() => match self.attach(command) {
                Some(outcome) => outcome.map_err(refusal).map(|()| 0),
                None => Ok(other(command, argument)),
            },
            _ => Ok(other(command, argument)),
        }
    }

    fn attach(&mut self, command: &str) -> Option<Result<(), OpenError>> {
        let ring = self.ring.as_ref()?;
        Some(match command {
            "producer" => ring.producer().map(|end| self.tx = Some(end)),
            "consumer" => ring.consumer().map(|end| self.rx = Some(end)),
            "observe" => ring.observer().map(|end| self.observer = Some(end)),
            "remove" => ring.remove(),
            _ => return None,
        })
    }

    fn take(&mut self, count: u64) -> Answer {
        for _ in 0..count {
            self.once()?;
        }
        Ok(self.next)
    }

    fn go(&mut self) -> Answer {
        loop {
            self.once()?;
        }
    }

    fn stream(&mut self) -> Answer {
        let start = self.next;
        loop {
            self.wait()?;
            if self.next == start + STREAM {
                say("streaming");
            }
        }
    }

    /// Sends or takes one message without waiting.
    fn once(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        message(self.next, &mut bytes);
        let mut buffer = [0xAA; 1000];
        match (&mut self.tx, &mut self.rx) {
            (Some(tx), _) => tx.try_send(&bytes).map_err(|error| match error {
                TrySendError::Corrupt(what) => found(what),
                other => format!("{other:?}"),
            })?,
            (_, Some(rx)) => {
                let length = rx.try_recv(&mut buffer).map_err(|error| match error {
                    TryRecvError::Corrupt(what) => found(what),
                    other => format!("{other:?}"),
                })?;
                self.compare(&bytes, &buffer[..length])?;
            }
            _ => panic!("no end"),
        }
        self.next += 1;
        Ok(())
    }

    /// The same, waiting.
    fn wait(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        message(self.next, &mut bytes);
        let mut buffer = [0xAA; 1000];
        match (&mut self.tx, &mut self.rx) {
            (Some(tx), _) => tx
                .send_timeout(&bytes, PATIENCE)
                .map_err(|error| match error {
                    SendError::Corrupt(what) => found(what),
                    other => format!("{other:?}"),
                })?,
            (_, Some(rx)) => {
                let length = rx.recv_timeout(&mut buffer, PATIENCE);
                let length = length.map_err(|error| match error {
                    RecvError::Corrupt(what) => found(what),
                    other => format!("{other:?}"),
                })?;
                self.compare(&bytes, &buffer[..length])?;
            }
            _ => panic!("no end"),
        }
        self.next += 1;
        Ok(())
    }

    fn compare(&self, expected: &[u8], found: &[u8]) -> Result<(), String> {
        if expected == found {
            return Ok(());
        }
        Err(format!("WRONG message {}: {found:x?}", self.next))
    }

    /// Looks on: how many messages wait.
    fn look(&self) -> Answer {
        let observer = self.observer.as_ref().unwrap();
        let all = observer.peek_all();
        if let Some(damage) = observer.snapshot().damage {
            assert!(all.is_ok() || all == Err(damage), "{all:?}");
            return Err(found(damage));
        }
        all.map(|found| found.len() as u64).map_err(found)
    }
}

/// Commands that need no ring.
#[cfg(feature = "guard")]
fn other(command: &str, argument: &str) -> u64 {
    if command == "guard" {
        ringduct::guard::install().unwrap();
        assert!(ringduct::guard::is_installed());
        return 0;
    }
    kernel::faults::obey(command, argument)
}

#[cfg(not(feature = "guard"))]
fn other(command: &str, _: &str) -> u64 {
    panic!("no such command: {command}")
}

/// Damage in words.
fn found(what: Corruption) -> String {
    eprintln!("{what}");
    format!("{:?} {} {}", what.what, what.expected, what.found)
}

/// A refusal in one word, or the damage behind it.
fn refusal(error: OpenError) -> String {
    eprintln!("{error}");
    match error {
        OpenError::Corrupt { corruption, .. } => found(corruption),
        other => {
            let text = format!("{other:?}");
            let end = text.find(' ').unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}
