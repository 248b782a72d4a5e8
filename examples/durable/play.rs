//! The first process: starts the other two, strikes them down, and judges the end.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "counts far from their limits"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::Disk;
use super::kept::{self, Kept};
use super::{Failure, Plan, signals};

/// What happens to the processes, one after the other, at even distances.
#[derive(Clone, Copy, Debug)]
enum Blow {
    KillProducer,
    KillConsumer,
    KillBoth,
    CutPower,
}

use Blow::{CutPower, KillBoth, KillConsumer, KillProducer};

const KILLS: [Blow; 6] = [
    KillProducer,
    KillConsumer,
    KillBoth,
    KillConsumer,
    KillProducer,
    KillBoth,
];

const CUTS: [Blow; 7] = [
    CutPower,
    KillProducer,
    CutPower,
    KillConsumer,
    CutPower,
    KillBoth,
    CutPower,
];

pub(crate) fn run(asked: &Plan) -> Result<ExitCode, Failure> {
    signals::catch();
    let fresh;
    let folder = if let Some(folder) = &asked.folder {
        std::fs::create_dir_all(folder)?;
        folder.as_path()
    } else {
        fresh = tempfile::tempdir_in("/var/tmp")?;
        fresh.path()
    };
    // Declared before the play, so it goes after it: the processes must have left the disk.
    let disk = asked.power_cut.then(|| Disk::new(folder)).transpose()?;
    let folder = disk.as_ref().map_or(folder, Disk::path);
    let (outbox, inbox) = channel();
    let blows: &[Blow] = if asked.power_cut { &CUTS } else { &KILLS };
    say(&format!(
        "{} messages through a durable ring in {}",
        asked.messages,
        folder.display()
    ));
    let mut play = Play {
        sides: Vec::new(),
        folder: folder.to_owned(),
        disk: disk.as_ref(),
        messages: asked.messages,
        outbox,
        inbox,
        acknowledged: 0,
        again: 0,
    };
    play.start(PRODUCER)?;
    play.start(CONSUMER)?;
    if let Some(code) = play.go(blows)? {
        return Ok(code);
    }
    play.judge()?;
    Ok(ExitCode::SUCCESS)
}

const PRODUCER: &str = "producer";
const CONSUMER: &str = "consumer";

/// One of the two processes, and the thread that hears what it says.
struct Side {
    name: &'static str,
    child: Child,
    listener: Option<JoinHandle<()>>,
}

impl Side {
    /// Kills it at once, and waits until everything that it said is heard.
    fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.listener.take().map(JoinHandle::join));
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line that a process has said, or `None` at its end.
struct Heard {
    from: &'static str,
    line: Option<String>,
}

struct Play<'a> {
    /// Those that run.
    sides: Vec<Side>,
    folder: PathBuf,
    disk: Option<&'a Disk>,
    messages: u64,
    outbox: Sender<Heard>,
    inbox: Receiver<Heard>,
    /// Messages that the producer was told are safe.
    acknowledged: u64,
    /// Messages that came a second time and were passed over.
    again: u64,
}

impl Play<'_> {
    fn start(&mut self, name: &'static str) -> Result<(), Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(format!("--{name}"))
            .arg(&self.folder)
            .arg(self.messages.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(BufReader::new);
        let outbox = self.outbox.clone();
        let listener = std::thread::spawn(move || {
            let lines = lines.into_iter().flat_map(BufRead::lines);
            for line in lines.map_while(Result::ok).map(Some).chain([None]) {
                // If nobody listens any more, the program ends.
                drop(outbox.send(Heard { from: name, line }));
            }
        });
        self.sides.push(Side {
            name,
            child,
            listener: Some(listener),
        });
        Ok(())
    }

    /// Runs to the end, or until the program is asked to end.
    fn go(&mut self, blows: &[Blow]) -> Result<Option<ExitCode>, Failure> {
        let parts = u64::try_from(blows.len())? + 1;
        let mut blows = (1..).zip(blows).peekable();
        while !self.sides.is_empty() {
            if let Some(code) = signals::asked_to_end() {
                say("asked to end: taking everything down");
                return Ok(Some(code));
            }
            let heard = match self.inbox.recv_timeout(Duration::from_millis(200)) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(line) = heard.line else {
                self.ended(heard.from)?;
                continue;
            };
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            if word == "failed" {
                return Err(format!("the {} says: {rest}", heard.from).into());
            }
            let dealt = self.note(heard.from, word, rest)?;
            let due =
                |blow: &(u64, &Blow)| dealt.is_some_and(|n| n >= self.messages / parts * blow.0);
            if let Some((_, blow)) = blows.next_if(due) {
                self.strike(*blow, dealt.unwrap_or(0))?;
            }
        }
        Ok(None)
    }

    /// Takes in what a process said; how many messages the consumer has dealt with, if it said that.
    fn note(&mut self, from: &str, word: &str, rest: &str) -> Result<Option<u64>, Failure> {
        match word {
            "acknowledged" => self.acknowledged = self.acknowledged.max(rest.parse()?),
            "dealt" => return Ok(Some(rest.parse()?)),
            "again" => self.again += 1,
            "found" => say(&format!("  {from}: {rest}")),
            "resumes" => {
                let (number, safe): (u64, _) = (rest.parse()?, self.acknowledged);
                say(&format!(
                    "  producer: goes on at message {number}; {safe} were acknowledged"
                ));
                if number < safe {
                    return Err(format!("LOST: {safe} acknowledged, {number} there").into());
                }
            }
            _ => return Err(format!("the {from} says {word:?}").into()),
        }
        Ok(None)
    }

    fn ended(&mut self, name: &str) -> Result<(), Failure> {
        let Some(index) = self.sides.iter().position(|side| side.name == name) else {
            return Ok(());
        };
        let status = self.sides.swap_remove(index).child.wait()?;
        if !status.success() {
            return Err(format!("the {name} ended with {status}").into());
        }
        Ok(())
    }

    fn strike(&mut self, blow: Blow, dealt: u64) -> Result<(), Failure> {
        let (what, struck): (_, &[&'static str]) = match blow {
            KillProducer => ("kill -9 of the producer", &[PRODUCER]),
            KillConsumer => ("kill -9 of the consumer", &[CONSUMER]),
            KillBoth => ("kill -9 of both", &[PRODUCER, CONSUMER]),
            CutPower => ("power cut", &[PRODUCER, CONSUMER]),
        };
        say(&format!("{what} after {dealt} messages were dealt with"));
        let disk = self.disk.filter(|_| matches!(blow, CutPower));
        if let Some(disk) = disk {
            disk.cut_power()?;
        }
        self.sides.retain(|side| !struck.contains(&side.name)); // dropped, so killed
        self.hear_the_dead(struck)?;
        if let Some(disk) = disk {
            disk.restart()?;
        }
        struck.iter().try_for_each(|name| self.start(name))
    }

    /// What was said before the end counts, and an acknowledgement most of all; that one of them
    /// failed, or ended, is no wonder.
    fn hear_the_dead(&mut self, struck: &[&str]) -> Result<(), Failure> {
        let heard: Vec<Heard> = self.inbox.try_iter().collect();
        for heard in heard {
            let is_dead = struck.contains(&heard.from);
            let line = heard.line.as_deref();
            let said = line.map(|line| line.split_once(' ').unwrap_or((line, "")));
            match said {
                Some(("failed", _)) | None if is_dead => {}
                Some(("failed", rest)) => {
                    return Err(format!("the {} says: {rest}", heard.from).into());
                }
                Some((word, rest)) => drop(self.note(heard.from, word, rest)?),
                None => self.ended(heard.from)?,
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), Failure> {
        let found = Kept::load(Path::new(&self.folder))?;
        let mut expected = Kept::default();
        for number in 0..self.messages {
            let key = found.last.unwrap_or_default();
            expected.work(key, &kept::message(number))?;
        }
        if found != expected || self.acknowledged != self.messages {
            return Err(format!(
                "expected {expected:?}, all of it acknowledged; found {found:?}, {} acknowledged",
                self.acknowledged
            )
            .into());
        }
        say(&format!(
            "{} messages came a second time and were passed over",
            self.again
        ));
        say(&format!(
            "all {} messages were acknowledged, and every one was dealt with exactly once",
            self.messages
        ));
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "says what it does")]
fn say(text: &str) {
    println!("{text}");
}
