//! Everything that two well-behaved ends can do, against a plain queue that says what must come of
//! it: every result, every byte, every count, from any starting position, over restarts and deaths.
#![no_main]
#![expect(unsafe_code, reason = "takes the trusted form of both ends")]

use core::time::Duration;
use std::collections::VecDeque;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{
    Consumer, Observer, Producer, RecvError, Ring, SendError, Totals, Trusted, TryRecvError,
    TrySendError, Wait,
};
use ringduct_fuzz::{
    CAPACITY_BYTES, Fresh, LIMITED_BYTES, LONGEST_BYTES, MOST_STEPS, PAGE_BYTES, Region, payload,
    record_bytes, word,
};

#[derive(Arbitrary, Debug)]
struct Input {
    fresh: Fresh,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Send(Size),
    SendTimeout(Size),
    SendAll(Vec<Size>),
    Batch {
        sizes: Vec<Size>,
        commit: bool,
    },
    Claim {
        size: Size,
        at: u16,
        written: u16,
        how: How,
    },
    Recv {
        room: Size,
    },
    RecvVec,
    RecvTimeout,
    Peek {
        room: Size,
    },
    PeekLen,
    View {
        leave: bool,
    },
    Drain(u8),
    DrainViews(u8),
    Skip(u8),
    SkipToLatest,
    TryMessages(u8),
    Observe,
    Producer(Fate),
    Consumer(Fate),
}

/// A length: mostly short, so that many messages fit, and now and then at the limit.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Short(u8),
    Any(u16),
    NearLongest(u8),
    NearLimit(u8),
}

impl Size {
    fn get(self) -> usize {
        match self {
            Self::Short(bytes) => usize::from(bytes % 40),
            Self::Any(bytes) => usize::from(bytes) % (LONGEST_BYTES + 1),
            Self::NearLongest(bytes) => LONGEST_BYTES + 4 - usize::from(bytes % 32),
            Self::NearLimit(bytes) => LIMITED_BYTES + 4 - usize::from(bytes % 32),
        }
    }
}

/// How a claim ends.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum How {
    Whole,
    Written,
    Length(u16),
    InPlace,
    Drop,
}

/// What becomes of an end.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It closes, unless it is gone already.
    Close,
    /// It dies: no mark is left.
    Die,
    /// A producer dies between its last commit word and its tail; a consumer just dies.
    DieInPublish,
    /// It comes back, unless it is there.
    Attach,
}

/// How the last session of a role ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    Closed,
    Gone,
}

/// What must be true of the ring.
#[derive(Default)]
struct Model {
    longest: usize,
    queue: VecDeque<Vec<u8>>,
    used_bytes: u64,
    published: Totals,
    released: Totals,
    /// The end of the producer that this consumer was not told of yet.
    tx_ended: Option<Ended>,
    /// The end of the consumer that this producer was not told of yet.
    rx_ended: Option<Ended>,
    /// The stored tail is one publish behind.
    tail_is_behind: bool,
}

impl Model {
    fn verdict(&self, pending_bytes: u64, length: usize) -> Result<(), TrySendError> {
        if length > self.longest {
            let (message_bytes, max_bytes) = (length as u64, self.longest as u64);
            return Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            });
        }
        let needed = self.used_bytes + pending_bytes + record_bytes(length) + 8;
        if needed > CAPACITY_BYTES {
            Err(TrySendError::Full)
        } else {
            Ok(())
        }
    }

    fn push(&mut self, message: Vec<u8>) {
        let record = record_bytes(message.len());
        self.used_bytes += record;
        add(&mut self.published, record, message.len());
        self.queue.push_back(message);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let message = self.queue.pop_front()?;
        let record = record_bytes(message.len());
        self.used_bytes -= record;
        add(&mut self.released, record, message.len());
        Some(message)
    }

    /// What a consumer is told that finds nothing and does not wait.
    fn nothing(&mut self) -> TryRecvError {
        if self.tx_ended == Some(Ended::Closed) {
            self.tx_ended = None;
            return TryRecvError::Closed;
        }
        TryRecvError::Empty
    }

    fn nothing_many(&mut self) -> Result<usize, TryRecvError> {
        match self.nothing() {
            TryRecvError::Empty => Ok(0),
            error => Err(error),
        }
    }
}

fn add(totals: &mut Totals, record: u64, length: usize) {
    totals.position = totals.position.wrapping_add(record);
    totals.messages += 1;
    totals.bytes += length as u64;
}

struct Run {
    ring: Ring,
    region: Region,
    observer: Observer,
    tx: Option<Producer<Trusted>>,
    rx: Option<Consumer<Trusted>>,
    model: Model,
    seed: u8,
    /// How far the producer was before its last publish.
    before: Totals,
}

fuzz_target!(|input: Input| {
    let (ring, region) = input.fresh.make();
    let mut model = Model {
        longest: input.fresh.longest_bytes(),
        ..Model::default()
    };
    model.published.position = input.fresh.position();
    model.released.position = input.fresh.position();
    let before = model.published;
    let mut run = Run {
        observer: ring.observer().expect("an observer"),
        tx: Some(producer(&ring)),
        rx: Some(consumer(&ring)),
        ring,
        region,
        model,
        seed: 0,
        before,
    };
    for step in input.steps.iter().take(MOST_STEPS) {
        run.step(step);
        run.check();
    }
});

fn producer(ring: &Ring) -> Producer<Trusted> {
    let mut tx = ring.producer().expect("a free role of an intact ring");
    tx.set_wait(Wait::SpinThenPark {
        spin: Duration::ZERO,
    });
    // SAFETY: both ends are in this thread, and it writes to no published record.
    unsafe { tx.trust_peer() }
}

fn consumer(ring: &Ring) -> Consumer<Trusted> {
    let mut rx = ring.consumer().expect("a free role of an intact ring");
    rx.set_wait(Wait::SpinThenPark {
        spin: Duration::ZERO,
    });
    // SAFETY: both ends are in this thread, and it writes to no published record.
    unsafe { rx.trust_peer() }
}

impl Run {
    fn step(&mut self, step: &Step) {
        let sends = matches!(
            step,
            Step::Send(_)
                | Step::SendTimeout(_)
                | Step::SendAll(_)
                | Step::Batch { .. }
                | Step::Claim { .. }
        );
        match *step {
            Step::Producer(fate) => self.fate_of_producer(fate),
            Step::Consumer(fate) => self.fate_of_consumer(fate),
            Step::Observe => self.observe(),
            _ if sends => {
                let before = self.model.published;
                if let Some(mut tx) = self.tx.take() {
                    self.send(&mut tx, step);
                    self.tx = Some(tx);
                }
                if self.model.published != before {
                    self.before = before;
                }
            }
            _ => {
                if let Some(mut rx) = self.rx.take() {
                    self.receive(&mut rx, step);
                    self.rx = Some(rx);
                }
            }
        }
    }

    /// After every step: positions, counters and backlog are what they must be.
    fn check(&self) {
        let model = &self.model;
        if let Some(tx) = &self.tx {
            assert_eq!(tx.totals(), model.published);
            assert_eq!(tx.backlog_bytes(), model.used_bytes);
        }
        if let Some(rx) = &self.rx {
            assert_eq!(rx.totals(), model.released);
            if !model.tail_is_behind {
                assert_eq!(rx.backlog_bytes(), model.used_bytes);
            }
        }
    }

    fn message(&mut self, size: Size) -> Vec<u8> {
        self.seed = self.seed.wrapping_add(1);
        payload(size.get(), self.seed)
    }

    fn send(&mut self, tx: &mut Producer<Trusted>, step: &Step) {
        match *step {
            Step::Send(size) => {
                let message = self.message(size);
                let verdict = self.model.verdict(0, message.len());
                assert_eq!(tx.try_send(&message), verdict);
                if verdict.is_ok() {
                    self.model.push(message);
                }
            }
            Step::SendTimeout(size) => self.send_timeout(tx, size),
            Step::SendAll(ref sizes) => {
                let messages: Vec<_> = sizes.iter().map(|size| self.message(*size)).collect();
                let fitting = self.fitting(&messages);
                let expected = match messages.get(fitting) {
                    Some(refused) if fitting == 0 => {
                        Err(self.model.verdict(0, refused.len()).expect_err("refused"))
                    }
                    _ => Ok(fitting),
                };
                assert_eq!(tx.try_send_all(&messages), expected);
                messages
                    .into_iter()
                    .take(fitting)
                    .for_each(|message| self.model.push(message));
            }
            Step::Batch { ref sizes, commit } => {
                let messages: Vec<_> = sizes.iter().map(|size| self.message(*size)).collect();
                let mut batch = tx.batch().expect("a usable end");
                let mut pending = 0;
                let mut pushed = Vec::new();
                for message in messages {
                    let verdict = self.model.verdict(pending, message.len());
                    assert_eq!(batch.push(&message), verdict);
                    if verdict.is_ok() {
                        pending += record_bytes(message.len());
                        pushed.push(message);
                    }
                }
                assert_eq!(batch.len(), pushed.len());
                if commit {
                    assert_eq!(batch.commit(), pushed.len());
                    pushed
                        .into_iter()
                        .for_each(|message| self.model.push(message));
                }
            }
            Step::Claim {
                size,
                at,
                written,
                how,
            } => {
                self.claim(tx, size, (at.into(), written.into()), how);
            }
            _ => {}
        }
    }

    /// How many of these fit one after the other.
    fn fitting(&self, messages: &[Vec<u8>]) -> usize {
        let mut pending = 0;
        let fits = |message: &&Vec<u8>| {
            let verdict = self.model.verdict(pending, message.len());
            pending += record_bytes(message.len());
            verdict.is_ok()
        };
        messages.iter().take_while(fits).count()
    }

    fn send_timeout(&mut self, tx: &mut Producer<Trusted>, size: Size) {
        let message = self.message(size);
        let expected = match self.model.verdict(0, message.len()) {
            Ok(()) => Ok(()),
            Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            }) => Err(SendError::TooLong {
                message_bytes,
                max_bytes,
            }),
            Err(_) => Err(match self.model.rx_ended.take() {
                None => SendError::TimedOut,
                Some(Ended::Closed) => SendError::Closed,
                Some(Ended::Gone) => SendError::PeerGone,
            }),
        };
        assert_eq!(tx.send_timeout(&message, Duration::ZERO), expected);
        if expected.is_ok() {
            self.model.push(message);
        }
    }

    fn claim(
        &mut self,
        tx: &mut Producer<Trusted>,
        size: Size,
        (at, written): (usize, usize),
        how: How,
    ) {
        let verdict = self.model.verdict(0, size.get());
        let mut claim = match tx.try_claim(size.get()) {
            Ok(claim) => claim,
            Err(error) => return assert_eq!(Err(error), verdict),
        };
        assert_eq!(verdict, Ok(()));
        // Whatever was there before is part of the message where nothing is written.
        let mut expected = claim.to_vec();
        assert_eq!(expected.len(), size.get());
        let bytes = self.message(Size::Any(u16::try_from(written % 512).expect("small")));
        let at = at % (size.get() + 2);
        let fits = at + bytes.len() <= size.get();
        assert_eq!(claim.write_at(at, &bytes).is_ok(), fits);
        if fits {
            expected[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        match how {
            How::Whole => claim.commit(),
            How::Written => {
                claim.commit_written();
                expected.truncate(if fits { at + bytes.len() } else { 0 });
            }
            How::Length(length) => {
                let length = usize::from(length) % (size.get() + 2);
                let committed = claim.commit_len(length).is_ok();
                assert_eq!(committed, length <= size.get());
                if !committed {
                    return;
                }
                expected.truncate(length);
            }
            How::InPlace => {
                expected = payload(size.get(), self.seed);
                claim.copy_from_slice(&expected);
                claim.commit();
            }
            How::Drop => return,
        }
        self.model.push(expected);
    }

    fn receive(&mut self, rx: &mut Consumer<Trusted>, step: &Step) {
        match *step {
            Step::Recv { room } => self.receive_into(rx, room.get(), true),
            Step::Peek { room } => self.receive_into(rx, room.get(), false),
            Step::RecvVec => {
                let mut out = vec![1; 3];
                let result = rx.try_recv_vec(&mut out);
                match self.model.pop() {
                    Some(message) => assert_eq!((result, out), (Ok(()), message)),
                    None => assert_eq!(result, Err(self.model.nothing())),
                }
            }
            Step::RecvTimeout => self.receive_timeout(rx),
            Step::PeekLen => match self.model.queue.front() {
                Some(message) => assert_eq!(rx.peek_len(), Ok(message.len())),
                None => assert_eq!(rx.peek_len(), Err(self.model.nothing())),
            },
            Step::View { leave } => match (rx.try_view(), self.model.queue.front()) {
                (Ok(view), Some(message)) => {
                    assert_eq!(*view, message[..]);
                    if leave {
                        view.leave();
                    } else {
                        drop(view);
                        self.model.pop();
                    }
                }
                (Err(error), None) => assert_eq!(error, self.model.nothing()),
                (view, message) => panic!("{view:?} instead of {message:?}"),
            },
            Step::Drain(max) => {
                let mut seen = Vec::new();
                let result = rx.drain(max.into(), |message| seen.push(message.to_vec()));
                self.taken(result, max.into(), Some(seen));
            }
            Step::DrainViews(max) => {
                let mut seen = Vec::new();
                let result = rx.drain_views(max.into(), |message| seen.push(message.to_vec()));
                self.taken(result, max.into(), Some(seen));
            }
            Step::Skip(max) => {
                let result = rx.skip(max.into());
                self.taken(result, max.into(), None);
            }
            Step::SkipToLatest => {
                let expected = match self.model.queue.len() {
                    0 => self.model.nothing_many(),
                    waiting => Ok(waiting - 1),
                };
                assert_eq!(rx.skip_to_latest(), expected);
                (0..expected.unwrap_or(0)).for_each(|_| drop(self.model.pop()));
            }
            Step::TryMessages(max) => {
                for message in rx.try_messages().take(max.into()) {
                    assert_eq!(Some(message.expect("an intact ring")), self.model.pop());
                }
                if usize::from(max) > 0 && self.model.queue.is_empty() {
                    // It may have met the end, which it does not tell; ask once to be sure.
                    let told = rx.peek_len();
                    assert!(matches!(
                        told,
                        Err(TryRecvError::Empty | TryRecvError::Closed)
                    ));
                    self.model.tx_ended.take_if(|ended| *ended == Ended::Closed);
                }
            }
            _ => {}
        }
    }

    fn receive_into(&mut self, rx: &mut Consumer<Trusted>, room: usize, take: bool) {
        let mut buffer = vec![0; room];
        let result = if take {
            rx.try_recv(&mut buffer)
        } else {
            rx.peek(&mut buffer)
        };
        let expected = match self.model.queue.front() {
            None => Err(self.model.nothing()),
            Some(message) if message.len() > room => Err(TryRecvError::BufferTooSmall {
                message_bytes: message.len() as u64,
                buffer_bytes: room as u64,
            }),
            Some(message) => {
                assert!(buffer.starts_with(message));
                Ok(message.len())
            }
        };
        assert_eq!(result, expected);
        if take && expected.is_ok() {
            self.model.pop();
        }
    }

    fn receive_timeout(&mut self, rx: &mut Consumer<Trusted>) {
        let mut buffer = vec![0; LONGEST_BYTES];
        let result = rx.recv_timeout(&mut buffer, Duration::ZERO);
        let expected = match self.model.pop() {
            Some(message) => {
                assert!(buffer.starts_with(&message));
                Ok(message.len())
            }
            None => Err(match self.model.tx_ended.take() {
                None => RecvError::TimedOut,
                Some(Ended::Closed) => RecvError::Closed,
                Some(Ended::Gone) => RecvError::PeerGone,
            }),
        };
        assert_eq!(result, expected);
    }

    /// The outcome of a call that takes up to `max` messages.
    fn taken(
        &mut self,
        result: Result<usize, TryRecvError>,
        max: usize,
        seen: Option<Vec<Vec<u8>>>,
    ) {
        let count = self.model.queue.len().min(max);
        let expected = if count == 0 && max > 0 {
            self.model.nothing_many()
        } else {
            Ok(count)
        };
        assert_eq!(result, expected);
        let popped: Vec<_> = (0..count).filter_map(|_| self.model.pop()).collect();
        assert!(
            seen.is_none_or(|seen| seen == popped),
            "other messages than were sent"
        );
    }

    fn observe(&self) {
        let found = self.observer.peek_all().expect("an intact ring");
        let found: Vec<_> = found.into_iter().map(|peeked| peeked.message).collect();
        assert!(self.model.queue == found, "other messages than wait");
        if self.model.tail_is_behind {
            return;
        }
        let snapshot = self.observer.snapshot();
        assert_eq!(snapshot.producer.totals, self.model.published);
        assert_eq!(snapshot.consumer.totals, self.model.released);
        assert_eq!(snapshot.backlog_messages, self.model.queue.len() as u64);
        assert_eq!(snapshot.backlog_bytes, self.model.used_bytes);
    }

    fn fate_of_producer(&mut self, fate: Fate) {
        if fate == Fate::Attach {
            if self.tx.is_none() {
                self.tx = Some(producer(&self.ring));
                self.model.tx_ended = None;
                self.model.tail_is_behind = false;
                // Whoever comes is not told of those that ended before.
                self.model.rx_ended = None;
                self.before = self.model.published;
            }
            return;
        }
        let Some(tx) = self.tx.take() else { return };
        tx.close();
        self.model.tx_ended = Some(Ended::Closed);
        if fate == Fate::Close {
            return;
        }
        self.region.set(PAGE_BYTES + word::CLOSED_SESSION, 0);
        self.model.tx_ended = Some(Ended::Gone);
        if fate == Fate::DieInPublish && self.model.published != self.before {
            let Totals {
                position,
                messages,
                bytes,
                ..
            } = self.before;
            self.region.set(PAGE_BYTES + word::POSITION, position);
            for slot in word::ACCOUNT {
                for (offset, value) in slot.into_iter().zip([position, messages, bytes]) {
                    self.region.set(PAGE_BYTES + offset, value);
                }
            }
            self.model.tail_is_behind = true;
        }
    }

    fn fate_of_consumer(&mut self, fate: Fate) {
        if fate == Fate::Attach {
            if self.rx.is_none() {
                self.rx = Some(consumer(&self.ring));
                self.model.rx_ended = None;
                if self.model.queue.is_empty() {
                    self.model.tx_ended = None;
                } else if self.tx.is_none() {
                    // It has something to take, and is told of the end after that.
                    let session = self.region.get(PAGE_BYTES + 512);
                    let closed = self.region.get(PAGE_BYTES + word::CLOSED_SESSION);
                    let ended = if closed == session {
                        Ended::Closed
                    } else {
                        Ended::Gone
                    };
                    self.model.tx_ended = Some(ended);
                }
            }
            return;
        }
        let Some(rx) = self.rx.take() else { return };
        rx.close();
        self.model.rx_ended = Some(Ended::Closed);
        if fate != Fate::Close {
            self.region.set(2 * PAGE_BYTES + word::CLOSED_SESSION, 0);
            self.model.rx_ended = Some(Ended::Gone);
        }
    }
}
