//! The other process: reads commands, one a line, does them with the library, answers each.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use ringduct::{
    Consumer, Location, Observer, Options, PeerState, Producer, RecvError, Ring, SideSnapshot,
    TrySendError, Wait,
};

use crate::forks::inert;
use crate::{driver, intruder, kernel, message};

/// First word of an answer when the command went well.
pub(crate) const OK: &str = "ok";

/// Waiting for a state longer than this means that it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Answer = Result<String, Box<dyn Error>>;

/// Runs as an agent until the test closes the line. One that another program turned into answers
/// the command that did it.
pub(crate) fn main(words: &[&str]) {
    let line = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut line = UnixStream::from(line);
    if words == ["again"] {
        writeln!(line, "{OK} ").unwrap();
    }
    serve(line, &mut State::default());
}

/// What an agent has.
#[derive(Debug, Default)]
struct State {
    ring: Option<Ring>,
    tx: Option<Producer>,
    rx: Option<Consumer>,
    observer: Option<Observer>,
    descriptor: Option<OwnedFd>,
}

fn serve(line: UnixStream, state: &mut State) {
    let requests = BufReader::new(line.try_clone().unwrap());
    let mut answers = line;
    for request in requests.lines() {
        let Ok(request) = request else { return };
        let words: Vec<&str> = request.split(' ').collect();
        let answer = match state.obey(&words) {
            Ok(answer) => format!("{OK} {answer}\n"),
            Err(error) => format!("error {}\n", error.to_string().replace('\n', " ")),
        };
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// An error with its type and its text.
pub(crate) fn said<T, E: Debug + Display>(outcome: Result<T, E>) -> Result<T, Box<dyn Error>> {
    outcome.map_err(|error| format!("{error:?}: {error}").into())
}

impl State {
    fn obey(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["fork", path] => self.fork(path, None),
            ["fork-as", path, pid] => self.fork(path, Some(pid.parse()?)),
            ["unshare-pids"] => {
                kernel::unshare_pids()?;
                Ok(String::new())
            }
            ["pid"] => Ok(std::process::id().to_string()),
            ["exec"] => {
                let error = driver::myself("agent again").exec();
                Err(error.into())
            }
            ["orphan"] => {
                kernel::outlive_parent();
                Ok(String::new())
            }
            ["reap"] => {
                kernel::reap_children();
                Ok(String::new())
            }
            ["remove"] => said(self.ring()?.remove()).map(|()| String::new()),
            ["deny-membarrier"] => {
                kernel::deny_membarrier();
                Ok(String::new())
            }
            ["signals", period_us] => {
                kernel::storm_of_signals(period_us.parse()?);
                Ok(String::new())
            }
            ["until", role, what] => self.until(role, what),
            ["count", role, what] => self.count(role, what),
            _ => self.obey_open(words),
        }
    }

    /// Commands that make a ring, open it, or take what is handed over.
    fn obey_open(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["open", place] => {
                let ring = said(Options::new().open(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["open-or-create", place, capacity, checksum] => {
                let options = options(capacity, checksum)?;
                let ring = said(options.open_or_create(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["create", place, capacity, checksum] => {
                let ring = said(options(capacity, checksum)?.create(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["anonymous", capacity, checksum] => {
                let ring = said(options(capacity, checksum)?.create_anonymous())?;
                Ok(self.opened(ring))
            }
            ["open-of", owner, place] => {
                let options = Options::new().owner(owner.parse()?);
                let ring = said(options.open(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["create-mode", mode, place] => {
                let options = Options::new().capacity_bytes(4096).mode(octal(mode)?);
                let ring = said(options.create(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["open-mode", mode, place] => {
                let ring = said(Options::new().mode(octal(mode)?).open(&place.parse()?))?;
                Ok(self.opened(ring))
            }
            ["receive-descriptor", path] => self.receive_descriptor(path),
            ["receive", owner, name] => {
                let options = Options::new().owner(owner.parse()?);
                let ring = said(options.receive(&intruder::connect(name)?))?;
                Ok(self.opened(ring))
            }
            ["receive-view", owner, name] => {
                let options = Options::new().owner(owner.parse()?);
                let view = said(options.receive_observer(&intruder::connect(name)?))?;
                self.observer = Some(view);
                Ok(String::new())
            }
            _ => self.obey_end(words),
        }
    }

    /// Commands for an end.
    fn obey_end(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["producer"] => {
                self.tx = Some(said(self.ring()?.producer())?);
                Ok(String::new())
            }
            ["consumer"] => {
                self.rx = Some(said(self.ring()?.consumer())?);
                Ok(String::new())
            }
            ["leave"] => {
                self.tx = None;
                self.rx = None;
                Ok(String::new())
            }
            ["wait", how] => {
                let wait = match how {
                    "spin" => Wait::Spin,
                    _ => Wait::SpinThenPark {
                        spin: Duration::ZERO,
                    },
                };
                self.tx.iter_mut().for_each(|tx| tx.set_wait(wait));
                self.rx.iter_mut().for_each(|rx| rx.set_wait(wait));
                Ok(String::new())
            }
            ["send", first, count, max, how] => {
                self.send(first.parse()?, count.parse()?, max.parse()?, how)
            }
            ["fill", first, max] => self.fill(first.parse()?, max.parse()?),
            ["recv", first, count, max, how] => {
                self.recv(first.parse()?, count.parse()?, max.parse()?, how)
            }
            ["drain", first, max] => self.drain(first.parse()?, max.parse()?),
            ["available", first, max] => self.available(first.parse()?, max.parse()?),
            ["time-out", ms] => self.time_out(ms.parse()?),
            ["peer"] => Ok(match (&self.tx, &self.rx) {
                (Some(tx), _) => format!("{:?}", tx.peer_state()),
                (None, Some(rx)) => format!("{:?}", rx.peer_state()),
                _ => return Err("no end".into()),
            }),
            ["totals"] => Ok(match (&self.tx, &self.rx) {
                (Some(tx), _) => tx.totals().messages.to_string(),
                (None, Some(rx)) => rx.totals().messages.to_string(),
                _ => return Err("no end".into()),
            }),
            ["inert"] => Ok(inert(self.tx.take(), self.rx.take())),
            _ => intruder::obey(words),
        }
    }

    fn opened(&mut self, ring: Ring) -> String {
        let uuid = u128::from_le_bytes(ring.uuid());
        self.observer = None;
        self.ring = Some(ring);
        format!("{uuid:x}")
    }

    fn ring(&self) -> Result<&Ring, Box<dyn Error>> {
        self.ring.as_ref().ok_or_else(|| "no ring".into())
    }

    fn tx(&mut self) -> Result<&mut Producer, Box<dyn Error>> {
        self.tx.as_mut().ok_or_else(|| "no producer".into())
    }

    fn rx(&mut self) -> Result<&mut Consumer, Box<dyn Error>> {
        self.rx.as_mut().ok_or_else(|| "no consumer".into())
    }

    fn receive_descriptor(&mut self, path: &str) -> Answer {
        let stream = UnixStream::connect(path)?;
        let descriptor = kernel::receive_descriptor(&stream);
        let place = Location::Fd(descriptor.as_raw_fd());
        self.descriptor = Some(descriptor);
        let ring = said(Options::new().open(&place))?;
        Ok(self.opened(ring))
    }

    /// The child goes on as an agent, with everything it inherited, and never returns.
    fn fork(&mut self, path: &str, pid: Option<i32>) -> Answer {
        let child = match pid {
            None => kernel::fork(),
            Some(pid) => kernel::clone_as(pid)?,
        };
        if let Some(child) = child {
            return Ok(child.as_raw_nonzero().to_string());
        }
        kernel::die_with_parent();
        if let Ok(line) = UnixStream::connect(path) {
            serve(line, self);
        }
        kernel::exit_at_once(0)
    }

    /// Waits until a side of the ring is in a state.
    fn until(&mut self, role: &str, what: &str) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let side = self.side(role)?;
            let reached = match what {
                "parked" => side.parked,
                "fences" => side.fences,
                "attached" => side.state == PeerState::Attached,
                "stopped" => side.state == PeerState::Stopped,
                "closed" => side.state == PeerState::Closed,
                "gone" => side.state == PeerState::Gone,
                other => return Err(format!("no such state: {other}").into()),
            };
            if reached {
                return Ok(String::new());
            }
            if Instant::now() > end {
                return Err(format!("{role} never {what}: {side:?}").into());
            }
            std::thread::yield_now();
        }
    }

    fn count(&mut self, role: &str, what: &str) -> Answer {
        let side = self.side(role)?;
        Ok(match what {
            "sleeps" => side.sleeps.to_string(),
            "wakes" => side.wakes_sent.to_string(),
            "sessions" => side.sessions.to_string(),
            "messages" => side.totals.messages.to_string(),
            "fences" => side.fences.to_string(),
            other => return Err(format!("no such number: {other}").into()),
        })
    }

    fn side(&mut self, role: &str) -> Result<SideSnapshot, Box<dyn Error>> {
        if self.observer.is_none() {
            self.observer = Some(said(self.ring()?.observer())?);
        }
        let observer = self.observer.as_ref().ok_or("no observer")?;
        let snapshot = observer.snapshot();
        Ok(match role {
            "producer" => snapshot.producer,
            _ => snapshot.consumer,
        })
    }

    /// Sends messages `first..first + count`, all of them, in the way that is named.
    fn send(&mut self, first: u64, count: u64, max: usize, how: &str) -> Answer {
        let tx = self.tx()?;
        let mut random = message::Random::new(first);
        let mut next = first;
        let mut buffer = Vec::new();
        while next < first + count {
            let run = match how {
                "batch" => random.below(9).min(first + count - next),
                _ => 1,
            };
            match how {
                "batch" => {
                    let mut batch = said(tx.batch())?;
                    for number in next..next + run {
                        message::any(number, max, &mut buffer);
                        match batch.push(&buffer) {
                            Ok(()) => {}
                            Err(TrySendError::Full) => break,
                            Err(error) => return said(Err(error)),
                        }
                    }
                    let sent = batch.commit() as u64;
                    next += sent;
                    if sent < run {
                        message::any(next, max, &mut buffer);
                        said(tx.wait_for_room(buffer.len(), None))?;
                    }
                    continue;
                }
                "claim" => {
                    message::any(next, max, &mut buffer);
                    let mut claim = said(tx.claim(max, None))?;
                    // In two parts, the later one first, so that no part is aligned by chance.
                    let cut = buffer.len() / 2;
                    said(claim.write_at(cut, &buffer[cut..]))?;
                    said(claim.write_at(0, &buffer[..cut]))?;
                    said(claim.commit_len(buffer.len()))?;
                }
                _ => {
                    message::any(next, max, &mut buffer);
                    said(tx.send(&buffer))?;
                }
            }
            next += run;
        }
        Ok(String::new())
    }

    /// Sends messages from `first` on until the ring is full, and says how many.
    fn fill(&mut self, first: u64, max: usize) -> Answer {
        let tx = self.tx()?;
        let mut buffer = Vec::new();
        let mut next = first;
        loop {
            message::any(next, max, &mut buffer);
            match tx.try_send(&buffer) {
                Ok(()) => next += 1,
                Err(TrySendError::Full) => return Ok((next - first).to_string()),
                Err(error) => return said(Err(error)),
            }
        }
    }

    /// Receives messages `first..first + count` and checks every byte.
    fn recv(&mut self, first: u64, count: u64, max: usize, how: &str) -> Answer {
        let rx = self.rx()?;
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut wrong = None;
        let mut next = first;
        while next < first + count {
            if how == "drain" {
                said(rx.wait_for_message(None))?;
                let most = usize::try_from(first + count - next)?.min(50);
                let start = next;
                let taken = said(rx.drain(most, |message| {
                    message::any(next, max, &mut expected);
                    if message != expected {
                        wrong.get_or_insert(next);
                    }
                    next += 1;
                }))?;
                assert_eq!(taken as u64, next - start);
            } else {
                said(rx.recv_vec(&mut found, None))?;
                message::any(next, max, &mut expected);
                if found != expected {
                    wrong.get_or_insert(next);
                }
                next += 1;
            }
            if let Some(number) = wrong {
                return Err(format!("message {number} is wrong").into());
            }
        }
        Ok(String::new())
    }

    /// Receives and checks messages from `first` on until the ring says how its producer ended;
    /// answers with their number and that.
    fn drain(&mut self, first: u64, max: usize) -> Answer {
        let rx = self.rx()?;
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut next = first;
        loop {
            match rx.recv_vec(&mut found, None) {
                Ok(()) => {
                    message::any(next, max, &mut expected);
                    if found != expected {
                        return Err(format!("message {next} is wrong").into());
                    }
                    next += 1;
                }
                Err(ending @ (RecvError::Closed | RecvError::PeerGone)) => {
                    return Ok(format!("{} {ending:?}", next - first));
                }
                Err(error) => return said(Err(error)),
            }
        }
    }

    /// Receives and checks what is there now, without waiting; answers with the number.
    fn available(&mut self, first: u64, max: usize) -> Answer {
        let rx = self.rx()?;
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut next = first;
        while rx.try_recv_vec(&mut found).is_ok() {
            message::any(next, max, &mut expected);
            if found != expected {
                return Err(format!("message {next} is wrong").into());
            }
            next += 1;
        }
        Ok((next - first).to_string())
    }

    /// Waits in vain for `ms` milliseconds; the answer is how many passed at least.
    fn time_out(&mut self, ms: u64) -> Answer {
        let limit = Duration::from_millis(ms);
        let before = Instant::now();
        let outcome = match (&mut self.tx, &mut self.rx) {
            (Some(tx), _) => {
                let longest = vec![0; usize::try_from(tx.max_message_bytes())?];
                format!("{:?}", tx.send_timeout(&longest, limit))
            }
            (None, Some(rx)) => format!("{:?}", rx.recv_timeout(&mut [0; 16], limit)),
            _ => return Err("no end".into()),
        };
        assert!(
            before.elapsed() >= limit,
            "{:?} is too early",
            before.elapsed()
        );
        Ok(outcome)
    }
}

fn octal(digits: &str) -> Result<u32, std::num::ParseIntError> {
    u32::from_str_radix(digits, 8)
}

fn options(capacity: &str, checksum: &str) -> Result<Options, Box<dyn Error>> {
    let (capacity, checksum) = (capacity.parse()?, checksum == "checked");
    Ok(Options::new().capacity_bytes(capacity).checksum(checksum))
}
