//! What is measured: each side of each comparison.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "counts far from their limits"
)]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringduct::{
    CheckpointForm, CheckpointPolicy, Consumer, Location, Options, Producer, RecoveryState,
};

use crate::table::{Aim, Row, Samples};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

const MESSAGE: [u8; 64] = [7; 64];

/// The pages of the roles are the second and third; where their boot id lies.
const PAGE_BYTES: u64 = 4096;
const BOOT_ID_OFFSET: u64 = 560;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    pub(crate) rounds: u64,
    /// Checkpoints of each kind in a round.
    checkpoints: u64,
    /// Streams of each kind in a round: where their threads come to run tells more than the code.
    streams: u64,
    /// Messages in a stream.
    streamed: u64,
    /// Capacity of the rings that are streamed through and recovered.
    large_bytes: u64,
}

impl Amounts {
    pub(crate) const WHOLE: Self = Self {
        rounds: 9,
        checkpoints: 20,
        streams: 3,
        streamed: 4_000_000, // more than four times round the ring
        large_bytes: 64 << 20,
    };
    pub(crate) const BRIEF: Self = Self {
        rounds: 1,
        checkpoints: 2,
        streams: 1,
        streamed: 100_000,
        large_bytes: 1 << 20,
    };
}

/// Everything that is compared.
pub(crate) struct Bench {
    amounts: Amounts,
    appends: Vec<Append>,
    stream: Stream,
    recoveries: Vec<Cold>,
}

impl Bench {
    pub(crate) fn new(dir: &Path, amounts: Amounts) -> Result<Self, Failure> {
        let mut appends = Vec::new();
        for form in [CheckpointForm::OneSync, CheckpointForm::Full] {
            for messages in [1, 100, 10_000] {
                appends.push(Append::new(dir, form, messages)?);
            }
        }
        Ok(Self {
            amounts,
            appends,
            stream: Stream::new(dir, amounts)?,
            recoveries: vec![
                Cold::new(dir, amounts, true, true)?,
                Cold::new(dir, amounts, false, true)?,
                Cold::new(dir, amounts, true, false)?,
            ],
        })
    }

    /// Each measure once more, both sides in turn.
    pub(crate) fn round(&mut self) -> Result<(), Failure> {
        for append in &mut self.appends {
            for number in 0..self.amounts.checkpoints {
                append.compare(number % 2 == 0)?;
            }
        }
        for _ in 0..self.amounts.streams {
            self.stream.compare()?;
        }
        self.recoveries.iter_mut().try_for_each(Cold::recover)
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.appends.iter().flat_map(Append::rows).collect();
        rows.push(self.stream.row());
        rows.extend(self.recoveries.iter().map(Cold::row));
        rows
    }
}

/// A checkpoint of some messages, against `write` and `fdatasync` of the same bytes.
struct Append {
    form: CheckpointForm,
    messages: u64,
    tx: Producer,
    rx: Consumer,
    file: Flat,
    ours: Samples,
    alone: Samples,
    theirs: Samples,
}

impl Append {
    const CAPACITY_BYTES: u64 = 4 << 20;

    fn new(dir: &Path, form: CheckpointForm, messages: u64) -> Result<Self, Failure> {
        let name = format!("{form:?}-{messages}");
        let ring = Options::new()
            .durable(true)
            .checksum(form == CheckpointForm::OneSync)
            .capacity_bytes(Self::CAPACITY_BYTES)
            .create(&Location::from(dir.join(&name)))?;
        let bytes = usize::try_from(messages)? * MESSAGE.len();
        Ok(Self {
            form,
            messages,
            tx: ring.producer()?,
            rx: ring.consumer()?,
            file: Flat::new(&dir.join(name + ".flat"), Self::CAPACITY_BYTES, bytes)?,
            ours: Samples::default(),
            alone: Samples::default(),
            theirs: Samples::default(),
        })
    }

    fn compare(&mut self, ours_first: bool) -> Result<(), Failure> {
        if ours_first {
            self.ours()?;
        }
        let took = match self.form {
            CheckpointForm::OneSync => self.file.append()?,
            _ => self.file.append()? + self.file.state()?,
        };
        self.theirs.add(microseconds(took));
        if !ours_first {
            self.ours()?;
        }
        Ok(())
    }

    /// The consumer follows, as it does in life, but is not counted: the other side has none.
    fn ours(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        for _ in 0..self.messages {
            self.tx.send(&MESSAGE)?;
        }
        let sent = Instant::now();
        let durable = self.tx.checkpoint_as(self.form)?;
        self.ours.add(microseconds(started.elapsed()));
        self.alone.add(microseconds(sent.elapsed()));
        for _ in 0..self.messages {
            self.rx.recv(&mut [0; MESSAGE.len()])?;
        }
        if self.rx.checkpoint()?.messages != durable.messages {
            return Err("the consumer has taken what was not there".into());
        }
        Ok(())
    }

    fn rows(&self) -> [Row; 2] {
        let (form, theirs) = match self.form {
            CheckpointForm::OneSync => ("one-sync checkpoint", "`write`, `fdatasync`"),
            _ => ("full checkpoint", "twice `write`, `fdatasync`"),
        };
        let messages = self.messages;
        let row = |measure, ours: &Samples, aim| Row {
            measure,
            unit: "µs",
            ours: ours.clone(),
            theirs: Some(self.theirs.clone()),
            aim,
            note: format!("theirs: {theirs}"),
        };
        let alone = format!("{form} of {messages} messages of 64 B");
        let whole = format!("{form} of {messages} messages of 64 B and sending them");
        // Sending frames, checks and publishes each message, and faults the pages of a lap in: no
        // sync is to be blamed for that, but who pays wants to know.
        [
            row(alone, &self.alone, Aim::RatioAtMost(1.15)),
            row(whole, &self.ours, Aim::Nothing),
        ]
    }
}

/// A file of the ring's length that is written over and over, as one would without a ring: all of
/// it is allocated and was written before.
struct Flat {
    data: File,
    /// A page beside it that says how much is there.
    state: File,
    bytes: Vec<u8>,
    at: u64,
    capacity_bytes: u64,
}

impl Flat {
    fn new(path: &Path, capacity_bytes: u64, bytes: usize) -> Result<Self, Failure> {
        let written = |path: &Path, bytes: u64| -> Result<File, Failure> {
            let file = File::create_new(path)?;
            file.write_all_at(&vec![0; usize::try_from(bytes)?], 0)?;
            file.sync_all()?;
            Ok(file)
        };
        Ok(Self {
            data: written(path, capacity_bytes)?,
            state: written(&path.with_extension("state"), 4096)?,
            bytes: vec![7; bytes],
            at: 0,
            capacity_bytes,
        })
    }

    fn append(&mut self) -> Result<Duration, Failure> {
        let length = u64::try_from(self.bytes.len())?;
        if self.at + length > self.capacity_bytes {
            self.at = 0;
        }
        let started = Instant::now();
        self.data.write_all_at(&self.bytes, self.at)?;
        self.data.sync_data()?;
        self.at += length;
        Ok(started.elapsed())
    }

    fn state(&self) -> Result<Duration, Failure> {
        let started = Instant::now();
        self.state.write_all_at(&[7; 4096], 0)?;
        self.state.sync_data()?;
        Ok(started.elapsed())
    }
}

/// A stream through one ring, with checkpoints beside it and without. Without, its consumer makes
/// those that it must: where the producer has no durable space left.
struct Stream {
    tx: Producer,
    rx: Consumer,
    count: u64,
    with: Samples,
    without: Samples,
    checkpoints: Samples,
}

impl Stream {
    const EVERY: u64 = 10_000;

    fn new(dir: &Path, amounts: Amounts) -> Result<Self, Failure> {
        let ring = Options::new()
            .durable(true)
            .checksum(true)
            .capacity_bytes(amounts.large_bytes)
            .create(&Location::from(dir.join("stream")))?;
        Ok(Self {
            tx: ring.producer()?,
            rx: ring.consumer()?,
            count: amounts.streamed,
            with: Samples::default(),
            without: Samples::default(),
            checkpoints: Samples::default(),
        })
    }

    fn compare(&mut self) -> Result<(), Failure> {
        let policy = CheckpointPolicy::new()
            .every_messages(Self::EVERY)
            .in_background(true);
        let (rate, checkpoints) = self.run(policy)?;
        if checkpoints == 0 {
            return Err("no checkpoint was made in the background".into());
        }
        self.with.add(rate);
        self.checkpoints
            .add(Duration::from_secs(checkpoints).as_secs_f64());
        let (rate, _) = self.run(CheckpointPolicy::new())?;
        self.without.add(rate);
        Ok(())
    }

    /// Million messages a second, and how many checkpoints the producer heard of.
    fn run(&mut self, policy: CheckpointPolicy) -> Result<(f64, u64), Failure> {
        let Self { tx, rx, count, .. } = self;
        // Both ways begin with nothing left to write.
        tx.checkpoint()?;
        rx.checkpoint()?;
        tx.set_checkpoints(policy)?;
        rx.set_checkpoints(policy)?;
        let started = Instant::now();
        let heard = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(tx, *count));
            for _ in 0..*count {
                rx.recv(&mut [0; MESSAGE.len()])?;
            }
            sender.join().map_err(|_| "the sender panicked")?
        });
        let took = started.elapsed();
        tx.set_checkpoints(CheckpointPolicy::new())?;
        rx.set_checkpoints(CheckpointPolicy::new())?;
        let millions = Duration::from_micros(*count).as_secs_f64();
        Ok((millions / took.as_secs_f64(), heard?))
    }

    fn row(&self) -> Row {
        Row {
            measure: format!(
                "stream of 64 B, checkpoints every {} in the background, against none",
                Self::EVERY
            ),
            unit: "M/s",
            ours: self.with.clone(),
            theirs: Some(self.without.clone()),
            aim: Aim::RatioAtLeast(0.5),
            note: format!(
                "{:.0} checkpoints of the producer",
                self.checkpoints.median()
            ),
        }
    }
}

/// Sends, and looks now and then whether a checkpoint was made.
fn send(tx: &mut Producer, count: u64) -> Result<u64, Failure> {
    let (mut heard, mut last) = (0, tx.durable()?);
    for number in 0..count {
        tx.send(&MESSAGE)?;
        if number % 1000 == 0 {
            let now = tx.durable()?;
            heard += u64::from(now != last);
            last = now;
        }
    }
    Ok(heard)
}

/// A ring that is recovered as after a power cut, its pages still in memory.
struct Cold {
    path: PathBuf,
    checksum: bool,
    messages: u64,
    took: Samples,
    capacity_bytes: u64,
}

impl Cold {
    fn new(dir: &Path, amounts: Amounts, checksum: bool, full: bool) -> Result<Self, Failure> {
        let path = dir.join(format!("cold-{checksum}-{full}"));
        let capacity_bytes = amounts.large_bytes;
        let ring = Options::new()
            .durable(true)
            .checksum(checksum)
            .capacity_bytes(capacity_bytes)
            .create(&Location::from(path.clone()))?;
        let mut tx = ring.producer()?;
        let mut messages = 0;
        while full && tx.try_send(&MESSAGE).is_ok() {
            messages += 1;
        }
        if full && messages < capacity_bytes / 100 {
            return Err("the ring is not full".into());
        }
        tx.checkpoint()?;
        Ok(Self {
            path,
            checksum,
            messages,
            took: Samples::default(),
            capacity_bytes,
        })
    }

    fn recover(&mut self) -> Result<(), Failure> {
        let place = Location::from(self.path.clone());
        // Of another boot: within one, a recovery also writes everything again.
        let file = File::options().write(true).open(&self.path)?;
        for page in [1, 2] {
            file.write_all_at(&[7; 16], page * PAGE_BYTES + BOOT_ID_OFFSET)?;
        }
        let started = Instant::now();
        let ring = Options::new().open(&place)?;
        let rx = ring.consumer()?;
        self.took.add(started.elapsed().as_secs_f64() * 1000.0);
        let found = rx.recovery();
        if (found.state, found.kept_messages) != (RecoveryState::Cold, self.messages) {
            return Err(format!("{} messages expected: {found}", self.messages).into());
        }
        Ok(())
    }

    fn row(&self) -> Row {
        let full = if self.messages > 0 {
            "a full"
        } else {
            "an empty"
        };
        let mebibytes = self.capacity_bytes >> 20;
        let checksums = if self.checksum { "with" } else { "without" };
        Row {
            measure: format!("cold recovery of {full} {mebibytes} MiB ring {checksums} checksums"),
            unit: "ms",
            ours: self.took.clone(),
            theirs: None,
            aim: if self.messages > 0 {
                Aim::Below(100.0)
            } else {
                Aim::Nothing // bound by what the disk writes
            },
            note: format!("{} messages kept", self.messages),
        }
    }
}

fn microseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}
