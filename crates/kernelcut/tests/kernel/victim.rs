//! A process that uses a durable ring until it is killed, and says beforehand what it is about to
//! acknowledge, and afterwards what it has.

use ringduct::{CheckpointForm, Consumer, Location, Producer, RecoveryState, TrySendError};

use crate::account::{Positions, Shape, epoch_of, message};
use crate::child::Reporter;
use crate::random::Random;

/// Whose error it is.
const PRODUCER: u64 = 0;
const CONSUMER: u64 = 1;

/// What the role of a victim is called.
pub(crate) fn role(place: &str, shape: Shape, epoch: u64, seed: u64, moments: &str) -> String {
    let Shape { capacity, checksum } = shape;
    format!("victim {place} {capacity} {checksum} {epoch} {seed} {moments}")
}

pub(crate) fn child(words: &[&str]) {
    let [place, capacity, checksum, epoch, seed, moments] = words else {
        panic!("six words")
    };
    let place: Location = place.parse().unwrap();
    let shape = Shape {
        capacity: capacity.parse().unwrap(),
        checksum: *checksum == "true",
    };
    let epoch: u64 = epoch.parse().unwrap();
    let mut random = Random::new(seed.parse().unwrap());
    let reporter = Reporter::new(moments);
    // Any of these fails where the power is cut already.
    let Ok(ring) = shape.options().open(&place) else {
        return;
    };
    let Ok(producer) = ring.producer() else {
        return;
    };
    let Ok(consumer) = ring.consumer() else {
        return;
    };
    let found = *producer.recovery();
    let mut positions = Positions::new();
    let (head, tail) = (positions.at(found.head), positions.at(found.tail));
    let cold = u64::from(found.state == RecoveryState::Cold);
    reporter.say("attached", &[epoch, head, tail, found.incarnation, cold]);
    let (one, other) = (Random::new(random.next()), Random::new(random.next()));
    std::thread::scope(|scope| {
        let reporter = &reporter;
        let sizes = positions.clone();
        scope.spawn(move || {
            let mut side = Side {
                reporter,
                random: one,
                positions,
                shape,
            };
            side.produce(producer, tail, epoch);
        });
        scope.spawn(move || {
            let mut side = Side {
                reporter,
                random: other,
                positions: sizes,
                shape,
            };
            side.consume(consumer, head);
        });
    });
}

/// One end's work.
#[derive(Debug)]
struct Side<'a> {
    reporter: &'a Reporter,
    random: Random,
    positions: Positions,
    shape: Shape,
}

impl Side<'_> {
    fn produce(&mut self, mut producer: Producer, mut next: u64, epoch: u64) {
        let mut bytes = Vec::new();
        loop {
            let burst = 1 + self.random.below(16);
            self.reporter.say("sends", &[next + burst]);
            for _ in 0..burst {
                message(next, epoch, &mut bytes);
                match producer.try_send(&bytes) {
                    Ok(()) => next += 1,
                    Err(TrySendError::Poisoned) => {
                        self.reporter.say("error", &[PRODUCER]);
                        break;
                    }
                    Err(_) => {
                        std::thread::yield_now();
                        break;
                    }
                }
            }
            if self.random.percent(40) {
                let form = match self.random.below(2) {
                    0 if self.shape.checksum => CheckpointForm::OneSync,
                    _ => CheckpointForm::Full,
                };
                self.reporter.say("tail?", &[next]);
                match producer.checkpoint_as(form) {
                    Ok(done) => {
                        assert_eq!(done.position, self.positions.of(next));
                        assert_eq!(done.messages, next);
                        self.reporter.say("tail", &[next]);
                    }
                    Err(_) => self.reporter.say("error", &[PRODUCER]),
                }
            }
        }
    }

    fn consume(&mut self, mut consumer: Consumer, mut next: u64) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        loop {
            for _ in 0..self.random.below(32) {
                if consumer.try_recv_vec(&mut bytes).is_err() {
                    std::thread::yield_now();
                    break;
                }
                message(next, epoch_of(&bytes).unwrap_or(0), &mut expected);
                assert_eq!(bytes, expected, "message {next}");
                next += 1;
            }
            if self.random.percent(40) {
                self.reporter.say("head?", &[next]);
                match consumer.checkpoint() {
                    Ok(done) => {
                        assert_eq!(done.position, self.positions.of(next));
                        assert_eq!(done.messages, next);
                        self.reporter.say("head", &[next]);
                    }
                    Err(_) => self.reporter.say("error", &[CONSUMER]),
                }
            }
        }
    }
}
