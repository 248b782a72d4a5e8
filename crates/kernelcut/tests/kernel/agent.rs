//! A process that does to a durable ring what it is told, one command at a time. If a store of its
//! kills it, that is seen.

use std::io::BufRead;

use ringduct::{CheckpointError, CheckpointForm, Consumer, Location, OpenError, Producer};

use crate::account::{Shape, message};
use crate::child::Reporter;

/// What the role of an agent is called.
pub(crate) fn role(place: &str, shape: Shape) -> String {
    format!("agent {place} {} {}", shape.capacity, shape.checksum)
}

#[derive(Debug)]
struct Agent {
    place: Location,
    shape: Shape,
    ends: Option<(Producer, Consumer)>,
    next: u64,
}

pub(crate) fn child(words: &[&str]) {
    let [place, capacity, checksum] = words else {
        panic!("three words")
    };
    let shape = Shape {
        capacity: capacity.parse().unwrap(),
        checksum: *checksum == "true",
    };
    let mut agent = Agent {
        place: place.parse().unwrap(),
        shape,
        ends: None,
        next: 0,
    };
    let reporter = Reporter::new("-");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let (what, number) = agent.obey(words[0], words.get(1).copied());
        reporter.say(&what, &[number]);
    }
}

/// An answer: a word and a number.
type Answer = (String, u64);

fn done(number: u64) -> Answer {
    ("ok".to_owned(), number)
}

impl Agent {
    fn ends(&mut self) -> &mut (Producer, Consumer) {
        self.ends.as_mut().expect("the agent has attached")
    }

    fn obey(&mut self, command: &str, argument: Option<&str>) -> Answer {
        let number = || argument.unwrap().parse::<u64>().unwrap();
        match command {
            "attach" => self.attach(),
            "leave" => {
                self.ends = None;
                done(0)
            }
            // So many messages, or as many as there is room for.
            "send" => self.send(number()),
            "receive" => self.receive(number()),
            // All there are, which must be these from that number on.
            "check" => self.check(number()),
            "tail" => checkpoint(self.ends().0.checkpoint()),
            "tail-full" => checkpoint(self.ends().0.checkpoint_as(CheckpointForm::Full)),
            "tail-durable" => checkpoint(self.ends().0.durable()),
            "head" => checkpoint(self.ends().1.checkpoint()),
            "head-durable" => checkpoint(self.ends().1.durable()),
            "salvage" => self.salvage(argument.unwrap()),
            other => panic!("no such command: {other}"),
        }
    }

    fn attach(&mut self) -> Answer {
        self.ends = None;
        let attach = || {
            let ring = self.shape.options().open(&self.place)?;
            Ok::<_, OpenError>((ring.producer()?, ring.consumer()?))
        };
        match attach() {
            Ok(mut ends) => {
                self.next = ends.0.durable().map_or(0, |durable| durable.messages);
                self.ends = Some(ends);
                done(self.next)
            }
            Err(error) => refusal(&error),
        }
    }

    fn send(&mut self, count: u64) -> Answer {
        let mut bytes = Vec::new();
        let mut sent = 0;
        while sent < count {
            message(self.next, 0, &mut bytes);
            match self.ends().0.try_send(&bytes) {
                Ok(()) => {
                    self.next += 1;
                    sent += 1;
                }
                Err(ringduct::TrySendError::Poisoned) => return ("poisoned".to_owned(), sent),
                Err(error) => {
                    eprintln!("{sent} sent: {error}");
                    break;
                }
            }
        }
        done(sent)
    }

    fn receive(&mut self, count: u64) -> Answer {
        let mut bytes = Vec::new();
        let mut received = 0;
        while received < count && self.ends().1.try_recv_vec(&mut bytes).is_ok() {
            received += 1;
        }
        done(received)
    }

    fn check(&mut self, first: u64) -> Answer {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        let mut next = first;
        loop {
            match self.ends().1.try_recv_vec(&mut bytes) {
                Ok(()) => message(next, 0, &mut expected),
                Err(ringduct::TryRecvError::Corrupt(_)) => return ("corrupt".to_owned(), next),
                Err(_) => return done(next - first),
            }
            if bytes != expected {
                return ("wrong".to_owned(), next);
            }
            next += 1;
        }
    }

    fn salvage(&mut self, to: &str) -> Answer {
        let outcome = self
            .shape
            .options()
            .open(&self.place)
            .and_then(|ring| ring.salvage(&to.parse().unwrap()));
        match outcome {
            Ok(saved) => done(saved.messages),
            Err(error) => refusal(&error),
        }
    }
}

fn checkpoint(outcome: Result<ringduct::Durable, CheckpointError>) -> Answer {
    match outcome {
        Ok(durable) => done(durable.messages),
        Err(CheckpointError::Poisoned) => ("poisoned".to_owned(), 0),
        Err(CheckpointError::Sync { errno }) => ("sync".to_owned(), u64::try_from(errno).unwrap()),
        Err(other) => panic!("{other}"),
    }
}

fn refusal(error: &OpenError) -> Answer {
    let word = match error {
        OpenError::Poisoned { .. } => "poisoned",
        OpenError::DataLoss { .. } => "data-loss",
        OpenError::Corrupt { .. } => "corrupt",
        other => {
            eprintln!("refused: {other}");
            "refused"
        }
    };
    (word.to_owned(), 0)
}
