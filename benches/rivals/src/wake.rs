//! How long a sleeping receiver takes to have a message: through ringduct, through a bare futex
//! and through a pipe, in turn, in one pair of processes.
#![expect(unsafe_code, reason = "futex")]

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use std::time::Duration;

use ringduct::{Consumer, Location, Observer, Options, Producer};
use rivals_harness::cell::pack;
use rivals_harness::clock::{self, now};
use rivals_harness::duo::{self, Control};
use rivals_harness::{Cell, Failure, Mode, Output, fail};

/// Words of the two sides: when the sleeper woke, who it is, and what the futex waits on.
const WOKE: usize = 0;
const PID: usize = 2;
const FUTEX: usize = 4;

/// The sleeper sleeps this long before it is woken, in each of the ways: the longer a core idles,
/// the longer it takes to come back.
const SETTLE_NS: f64 = 200e3;

/// Ways of waking: ringduct, a futex, a pipe.
const WAYS: usize = 3;

/// Measures until the time is up.
pub(crate) fn measure(cell: &Cell) -> Result<Output, Failure> {
    let place = Location::Shm(format!("{}-wake", cell.name));
    let ring = Options::new()
        .capacity_bytes(4096)
        .prefault(true)
        .create(&place)?;
    let (reader, writer) = pipe()?;
    let output = duo::run(
        Mode::Processes,
        cell,
        |control| {
            let mut waker = Waker {
                tx: Options::new().open(&place)?.producer()?,
                writer: writer.try_clone()?,
                observer: Options::new().observe(&place)?,
                samples: Default::default(),
            };
            control.meet();
            waker.work(control, cell.ticks)
        },
        |control| {
            let rx = Options::new().open(&place)?.consumer()?;
            control
                .word(PID)
                .store(u64::from(std::process::id()), Release);
            control.meet();
            be_woken(rx, reader.try_clone()?, control)
        },
    );
    // Nobody is left to tell.
    drop(ring.remove());
    output
}

/// The side that wakes.
struct Waker {
    tx: Producer,
    writer: PipeWriter,
    observer: Observer,
    /// Ticks until it was awake, for each way; of a send to a sleeper; of the send after it.
    samples: [Vec<u64>; WAYS + 2],
}

impl Waker {
    fn work(&mut self, control: &Control, ticks: u64) -> Result<Output, Failure> {
        let ticks_per_ns = clock::ticks_per_ns(Duration::from_millis(20));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let settle = (SETTLE_NS * ticks_per_ns) as u64;
        let sleeper = Sleeper::find(control)?;
        let started = now();
        for index in 0.. {
            let way = index % WAYS;
            let last = now() - started > ticks && way == 0;
            sleeper.wait_asleep(settle, || way != 0 || parked(&mut self.observer))?;
            control.word(WOKE).store(0, Release);
            self.once(control, index, if last { u64::MAX } else { index as u64 })?;
            if last {
                break;
            }
        }
        let mut output = Output::of_samples(&self.samples[0]);
        let names = [
            "ringduct",
            "futex",
            "pipe",
            "send-to-sleeper",
            "send-after-wake",
        ];
        for (name, samples) in names.iter().zip(&self.samples) {
            output.more.insert(
                (*name).to_owned(),
                pack(samples.get(5..).unwrap_or_default()),
            );
        }
        Ok(output)
    }

    fn once(&mut self, control: &Control, index: usize, message: u64) -> Result<(), Failure> {
        let message = message.to_ne_bytes();
        let sent = now();
        match index % WAYS {
            0 => self.tx.send(&message)?,
            1 => wake(control, u32::try_from(index)?),
            _ => self.writer.write_all(&message)?,
        }
        if index.is_multiple_of(WAYS) {
            let between = now();
            self.tx.send(&message)?;
            self.samples[WAYS].push(between - sent);
            self.samples[WAYS + 1].push(now() - between);
        }
        self.samples[index % WAYS].push(woken(control).saturating_sub(sent));
        Ok(())
    }
}

/// The side that is woken.
fn be_woken(mut rx: Consumer, mut reader: PipeReader, control: &Control) -> Result<(), Failure> {
    let mut buffer = [0; 8];
    for index in 0.. {
        match index % WAYS {
            0 => {
                rx.recv(&mut buffer)?;
            }
            1 => sleep(control, u32::try_from(index)?),
            _ => reader.read_exact(&mut buffer)?,
        }
        let woke = now();
        if index.is_multiple_of(WAYS) {
            rx.recv(&mut buffer)?;
        }
        control.word(WOKE).store(woke, Release);
        if buffer == [0xff; 8] {
            break;
        }
    }
    Ok(())
}

fn parked(observer: &mut Observer) -> bool {
    observer.snapshot().consumer.parked
}

/// The process that sleeps, seen through the kernel.
struct Sleeper(File);

impl Sleeper {
    fn find(control: &Control) -> Result<Self, Failure> {
        let pid = control.word(PID).load(Acquire);
        Ok(Self(File::open(format!("/proc/{pid}/stat"))?))
    }

    /// Waits until it sleeps, and then until it has slept for a while.
    fn wait_asleep(&self, settle: u64, also: impl FnMut() -> bool) -> Result<(), Failure> {
        let mut also = also;
        loop {
            let mut text = [0; 512];
            let length = self.0.read_at(&mut text, 0)?;
            let text = String::from_utf8_lossy(&text[..length]);
            let state = text
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            if state == Some('S') && also() {
                break;
            }
        }
        let asleep = now();
        while now() - asleep < settle {
            core::hint::spin_loop();
        }
        Ok(())
    }
}

fn woken(control: &Control) -> u64 {
    loop {
        match control.word(WOKE).load(Acquire) {
            0 => core::hint::spin_loop(),
            woke => return woke,
        }
    }
}

fn futex(control: &Control) -> &AtomicU32 {
    let word = control.word(FUTEX).as_ptr().cast::<u32>();
    // SAFETY: inside a word that is used for nothing else, aligned, and mapped as long as
    // `control` is borrowed.
    unsafe { AtomicU32::from_ptr(word) }
}

fn wake(control: &Control, value: u32) {
    futex(control).store(value, Release);
    // SAFETY: the word is mapped.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            futex(control).as_ptr(),
            libc::FUTEX_WAKE,
            1,
        )
    };
}

fn sleep(control: &Control, value: u32) {
    loop {
        let seen = futex(control).load(Acquire);
        if seen == value {
            return;
        }
        let no_limit = std::ptr::null::<libc::timespec>();
        // SAFETY: the word is mapped, and there is no time limit to read.
        let result = unsafe {
            let word = futex(control).as_ptr();
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, no_limit)
        };
        let error = std::io::Error::last_os_error();
        if result != 0 && error.raw_os_error() != Some(libc::EAGAIN) {
            fail(error)
        }
    }
}
