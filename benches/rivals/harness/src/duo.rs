//! Two sides of a measurement, each on its own core: two processes, or two threads.
#![expect(unsafe_code, reason = "fork, affinity")]

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cell::{Cell, Output, pack};
use crate::floor;
use crate::link::{Failure, Mode, fail};
use crate::shared::Shared;
use crate::siblings;

/// What the two sides have in common besides the transport.
#[derive(Debug)]
pub struct Control {
    shared: Shared,
}

const ARRIVED: usize = 0;
const STOP: usize = 2;
const FLOORS: [usize; 2] = [4, 6];
const SIBLINGS: [usize; 2] = [16, 16 + siblings::WORDS];
const FIRST_FREE: usize = 8;
/// Enough for all of these words.
const SHARED_BYTES: usize = 4096;

impl Control {
    /// Waits until both sides are here.
    pub fn meet(&self) {
        let arrived = self.shared.word(ARRIVED);
        arrived.fetch_add(1, Release);
        while arrived.load(Acquire) < 2 {
            core::hint::spin_loop();
        }
    }

    /// Asks the other side to end.
    pub fn stop(&self) {
        self.shared.word(STOP).store(1, Relaxed);
    }

    /// Whether the other side asked to end.
    #[inline]
    pub fn stopped(&self) -> bool {
        self.shared.word(STOP).load(Relaxed) != 0
    }

    fn siblings(&self, from: usize) -> [&AtomicU64; siblings::WORDS] {
        std::array::from_fn(|index| self.shared.word(from + index))
    }

    /// A word for the two sides to use as they like.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        self.shared.word(FIRST_FREE + index)
    }
}

/// The system call that does nothing, for whoever counts the others.
pub const MARK: i64 = 0x7269;

/// The timed part begins.
pub const BEGIN: u64 = 1;

/// The timed part ends.
pub const END: u64 = 2;

/// Makes a mark that a tracer can see.
pub fn mark(what: u64) {
    // SAFETY: there is no such system call.
    unsafe { libc::syscall(MARK, what) };
}

/// Keeps the calling thread on one core.
///
/// # Errors
///
/// What the kernel says, when the core is not there.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: the set is plain bits.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: bounds are checked by the function.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is valid and its size is given.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Carries a closure to the second thread.
struct Carried<T>(T);

// SAFETY: only used for links of `Mode::Threads`, whose ends are `Send`: each of them says so
// where it is defined.
unsafe impl<T> Send for Carried<T> {}

impl<T> Carried<T> {
    fn unwrap(self) -> T {
        self.0
    }
}

/// Runs `first` on the first core and `second` on the second, and returns what `first` returns,
/// with the floor between the two cores right before and right after.
///
/// # Errors
///
/// What `first` or the kernel says. An error of `second` ends both.
pub fn run(
    mode: Mode,
    cell: &Cell,
    first: impl FnOnce(&Control) -> Result<Output, Failure>,
    second: impl FnOnce(&Control) -> Result<(), Failure>,
) -> Result<Output, Failure> {
    let control = Control {
        shared: Shared::new(SHARED_BYTES)?,
    };
    let cores = cell.cores;
    let floor = |control: &Control, word| {
        pack(&floor::ask(
            control.shared.word(word),
            cell.floor_ticks,
            || (),
        ))
    };
    let first = |control: &Control| {
        let before = floor(control, FLOORS[0]);
        let work_before = siblings::ask(control.siblings(SIBLINGS[0]));
        let mut output = first(control)?;
        output.floors = vec![before, floor(control, FLOORS[1])];
        output.work = vec![work_before, siblings::ask(control.siblings(SIBLINGS[1]))];
        Ok(output)
    };
    let second = |control: &Control| {
        floor::answer(control.shared.word(FLOORS[0]), || ());
        siblings::answer(control.siblings(SIBLINGS[0]));
        second(control)?;
        floor::answer(control.shared.word(FLOORS[1]), || ());
        siblings::answer(control.siblings(SIBLINGS[1]));
        Ok(())
    };
    match mode {
        Mode::Processes => processes(&control, cores, first, second),
        Mode::Threads => {
            let second = Carried(second);
            let control = &control;
            std::thread::scope(|scope| {
                scope.spawn(move || second_side(control, cores[1], second.unwrap()));
                pin(cores[0])?;
                first(control)
            })
        }
    }
}

fn second_side(
    control: &Control,
    core: usize,
    second: impl FnOnce(&Control) -> Result<(), Failure>,
) {
    if let Err(error) = pin(core)
        .map_err(Failure::from)
        .and_then(|()| second(control))
    {
        fail(error)
    }
}

fn processes(
    control: &Control,
    cores: [usize; 2],
    first: impl FnOnce(&Control) -> Result<Output, Failure>,
    second: impl FnOnce(&Control) -> Result<(), Failure>,
) -> Result<Output, Failure> {
    // SAFETY: a worker has a single thread until here.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error().into());
    }
    if child == 0 {
        // SAFETY: no memory is involved.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        second_side(control, cores[1], second);
        // SAFETY: ends this process without running what belongs to the parent.
        unsafe { libc::_exit(0) };
    }
    pin(cores[0])?;
    let result = first(control);
    if result.is_err() {
        // SAFETY: the child is ours and not yet waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if result.is_ok() && status != 0 {
        return Err(format!("the second process ended with status {status:#x}").into());
    }
    result
}
