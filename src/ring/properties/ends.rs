//! The same queue through the public ends, over real mappings.

use super::*;

/// A step of the public ends.
#[derive(Clone, Debug)]
enum Call {
    Send(usize),
    SendAll(Vec<usize>),
    Claim { bytes: usize, commit: Option<usize> },
    Recv,
    RecvShort,
    Peek,
    Drain(usize),
    Skip(usize),
    SkipToLatest,
    RestartProducer,
    RestartConsumer,
}

fn calls() -> impl Strategy<Value = Call> {
    let length = || prop_oneof![3 => 0..300_usize, 1 => 0..=8176_usize, 1 => 4080..=4080_usize];
    prop_oneof![
        4 => length().prop_map(Call::Send),
        3 => vec(length(), 1..8).prop_map(Call::SendAll),
        2 => (length(), any::<bool>(), length()).prop_map(|(bytes, commits, part)| {
            Call::Claim { bytes, commit: commits.then_some(part.min(bytes)) }
        }),
        5 => (0..1_u8).prop_map(|_| Call::Recv),
        1 => (0..1_u8).prop_map(|_| Call::RecvShort),
        1 => (0..1_u8).prop_map(|_| Call::Peek),
        2 => (1..9_usize).prop_map(Call::Drain),
        1 => (1..3_usize).prop_map(Call::Skip),
        1 => (0..1_u8).prop_map(|_| Call::SkipToLatest),
        1 => (0..1_u8).prop_map(|_| Call::RestartProducer),
        1 => (0..1_u8).prop_map(|_| Call::RestartConsumer),
    ]
}

/// A real ring, its ends and what must be in it.
struct Mapped {
    ring: Ring,
    tx: Option<Producer>,
    rx: Option<Consumer>,
    oracle: Oracle,
}

impl Mapped {
    fn new(capacity_bytes: u64, checksummed: bool, writable_data: bool, start: u64) -> Self {
        let options = Options::new()
            .capacity_bytes(capacity_bytes)
            .checksum(checksummed)
            .writable_data(writable_data);
        let ring = options.create_anonymous().expect("memory");
        let (tx, rx) = (
            ring.producer().expect("free"),
            ring.consumer().expect("free"),
        );
        start_at(tx.end.core.memory(), Role::Producer, start);
        start_at(rx.end.core.memory(), Role::Consumer, start);
        drop((tx, rx));
        Self {
            tx: Some(ring.producer().expect("free")),
            rx: Some(ring.consumer().expect("free")),
            ring,
            oracle: Oracle::new(capacity_bytes),
        }
    }

    fn send(&mut self, bytes: usize) {
        let message = payload(self.oracle.sent, bytes);
        let tx = self.tx.as_mut().expect("attached");
        let answer = tx.try_send(&message);
        if bytes as u64 > self.oracle.capacity_bytes - 16 {
            assert!(matches!(answer, Err(TrySendError::TooLong { .. })));
        } else if self.oracle.fits(0, bytes) {
            assert_eq!(answer, Ok(()));
            self.oracle.push(message);
        } else {
            assert_eq!(answer, Err(TrySendError::Full));
        }
    }

    fn send_all(&mut self, lengths: &[usize]) {
        let messages: Vec<_> = (self.oracle.sent..)
            .zip(lengths)
            .map(|(number, length)| payload(number, *length))
            .collect();
        let tx = self.tx.as_mut().expect("attached");
        let count = tx.try_send_all(&messages).unwrap_or(0);
        for (index, message) in messages.into_iter().enumerate() {
            let longest = self.oracle.capacity_bytes - 16;
            let fits = message.len() as u64 <= longest && self.oracle.fits(0, message.len());
            assert_eq!(index < count, fits, "as many as fit");
            if !fits {
                break;
            }
            self.oracle.push(message);
        }
    }

    fn claim(&mut self, bytes: usize, commit: Option<usize>) {
        let message = payload(self.oracle.sent, bytes);
        let Ok(mut claim) = self.tx.as_mut().expect("attached").try_claim(bytes) else {
            return;
        };
        let (first, last) = message.split_at(bytes / 3);
        claim.write_at(first.len(), last).expect("it fits");
        claim.write_at(0, first).expect("it fits");
        if let Some(length) = commit {
            claim.commit_len(length).expect("it fits");
            self.oracle.push(message[..length].to_vec());
        }
    }

    /// Receives one message; with a buffer one byte too short it must stay.
    fn recv(&mut self, too_short: bool) {
        let rx = self.rx.as_mut().expect("attached");
        let Some(expected) = self.oracle.queue.front() else {
            let answer = rx.try_recv(&mut []);
            assert!(matches!(
                answer,
                Err(TryRecvError::Empty | TryRecvError::Closed)
            ));
            return;
        };
        if too_short && !expected.is_empty() {
            let answer = rx.try_recv(&mut vec![0; expected.len() - 1]);
            assert!(matches!(answer, Err(TryRecvError::BufferTooSmall { .. })));
            return;
        }
        let mut out = vec![0; expected.len() + 1];
        assert_eq!(rx.try_recv(&mut out), Ok(expected.len()));
        out.truncate(expected.len());
        assert_eq!(Some(out), self.oracle.pop());
    }

    fn peek(&mut self) {
        let rx = self.rx.as_mut().expect("attached");
        if let Some(expected) = self.oracle.queue.front() {
            let mut out = vec![0; expected.len()];
            assert_eq!(rx.peek(&mut out), Ok(expected.len()));
            assert_eq!(&out, expected);
        }
    }

    fn drain(&mut self, max: usize) {
        let rx = self.rx.as_mut().expect("attached");
        let oracle = &mut self.oracle;
        let expected = max.min(oracle.queue.len());
        let count = rx.drain(max, |message| {
            assert_eq!(oracle.pop().as_deref(), Some(message));
        });
        assert_eq!(count.unwrap_or(0), expected);
    }

    fn skip(&mut self, max: usize) {
        let rx = self.rx.as_mut().expect("attached");
        let expected = max.min(self.oracle.queue.len());
        assert_eq!(rx.skip(max).unwrap_or(0), expected);
        (0..expected).for_each(|_| drop(self.oracle.pop()));
    }

    fn skip_to_latest(&mut self) {
        let rx = self.rx.as_mut().expect("attached");
        let expected = self.oracle.queue.len().saturating_sub(1);
        assert_eq!(rx.skip_to_latest().unwrap_or(0), expected);
        (0..expected).for_each(|_| drop(self.oracle.pop()));
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Send(bytes) => self.send(bytes),
            Call::SendAll(lengths) => self.send_all(&lengths),
            Call::Claim { bytes, commit } => self.claim(bytes, commit),
            Call::Recv => self.recv(false),
            Call::RecvShort => self.recv(true),
            Call::Peek => self.peek(),
            Call::Drain(max) => self.drain(max),
            Call::Skip(max) => self.skip(max),
            Call::SkipToLatest => self.skip_to_latest(),
            Call::RestartProducer => {
                self.tx = None;
                self.tx = Some(self.ring.producer().expect("free"));
            }
            Call::RestartConsumer => {
                self.rx = None;
                self.rx = Some(self.ring.consumer().expect("free"));
            }
        }
        let tx = self.tx.as_ref().expect("attached");
        let rx = self.rx.as_ref().expect("attached");
        assert_eq!(tx.backlog_bytes(), self.oracle.used_bytes);
        assert_eq!(tx.totals().messages, self.oracle.sent);
        assert_eq!(tx.totals().bytes, self.oracle.sent_bytes);
        assert_eq!(rx.totals().messages, self.oracle.taken);
        assert_eq!(rx.totals().bytes, self.oracle.taken_bytes);
    }
}

/// Goal: the public ends over a real mapping are a queue too, with every way to send and to take,
/// every refusal, and restarts of either side. Method: random walks over rings of one and two pages
/// from starting positions at the edges of the number space.
#[test]
fn the_ends_are_a_queue() {
    // Leases are taken and given back; a forked child of another test would keep them.
    let _alone = crate::testing::alone();
    let kinds = (any::<bool>(), any::<bool>());
    let inputs = (0..2_u32, kinds, starts(), vec(calls(), 1..80));
    check(
        150,
        inputs,
        |(size, (checksummed, writable), start, calls)| {
            let mut ends = Mapped::new(4096 << size, checksummed, writable, start);
            for call in calls {
                ends.call(call);
            }
            ends.drain(usize::MAX);
            assert!(ends.oracle.queue.is_empty(), "a message was lost");
        },
    );
}
