//! The wall clock jumps by decades all the time, and nothing here notices.
//!
//! This program brings a `clock_gettime` of its own, which the standard library then calls: its wall
//! clock reads something else with every look. What the kernel is asked to wait by, a filter sees.
//! So the machine's own clock need not be touched.
#![expect(
    unsafe_code,
    reason = "stands in for a function of the C library, and installs a filter"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ringduct::{Location, Options, PeerState, RecvError, SendError, Wait};

/// Looks at the wall clock so far.
static LOOKS: AtomicI64 = AtomicI64::new(0);

const YEAR: i64 = 365 * 24 * 3600;

/// Longer than any of these tests may take.
const HOUR: Duration = Duration::from_secs(3600);

/// Stands in for the C library's.
///
/// # Safety
///
/// As for the C library's: `time` is null or points to a place for the answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: passed on as it came.
    let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    // SAFETY: the caller's pointer is null or good for this.
    if let (0, libc::CLOCK_REALTIME, Some(time)) = (outcome, clock, unsafe { time.as_mut() }) {
        let look = LOOKS.fetch_add(1, Ordering::Relaxed);
        let jump = match look & 3 {
            0 => 7,
            1 => -20,
            2 => 30,
            _ => -3,
        };
        // On the whole it goes on, so that whatever was looked at first is soon long past.
        let years = look.wrapping_div(4).wrapping_rem(400).wrapping_add(jump);
        time.tv_sec = time.tv_sec.wrapping_add(years.wrapping_mul(YEAR));
    }
    i32::try_from(outcome).unwrap_or(-1)
}

/// Kills this process if this thread, or one that it starts, waits by the wall clock.
fn forbid_waiting_by_the_wall_clock() {
    const REALTIME_FLAG: u32 = 256; // of a futex operation
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let has = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let verdict = libc::BPF_RET | libc::BPF_K;
    // What a filter sees: the number of the call at 0, the low half of its arguments from 16 on,
    // eight bytes apart. A futex that is waited for without a limit names a clock for nothing.
    let mut program = [
        step(load, 0, 0, 0),
        step(equal, number(libc::SYS_futex), 0, 4),
        step(load, 24, 0, 0),
        step(has, REALTIME_FLAG, 0, 5),
        step(load, 40, 0, 0),
        step(equal, 0, 3, 4),
        step(equal, number(libc::SYS_clock_nanosleep), 0, 2),
        step(load, 16, 0, 0),
        step(equal, u32::try_from(libc::CLOCK_REALTIME).unwrap(), 1, 0),
        step(verdict, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(verdict, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
    ];
    rustix::thread::set_no_new_privs(true).unwrap();
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: this command reads the program behind `filter`, which lives until it returns.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Goal: the wall clock here really jumps, both ways. Method: look at it often, beside the other.
#[test]
fn the_wall_clock_jumps() {
    let before = Instant::now();
    let looks: Vec<SystemTime> = (0..8).map(|_| SystemTime::now()).collect();
    assert!(before.elapsed() < HOUR);
    let jumps = looks.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    let (forth, back): (Vec<_>, Vec<_>) = jumps.partition(Result::is_ok);
    assert!(forth.len() >= 3 && back.len() >= 3, "{looks:?}");
    assert!(LOOKS.load(Ordering::Relaxed) >= 8);
}

/// Goal: a wait neither ends early nor is put off, on either side and however it waits. Method: a
/// message that comes within an hour is received, and room that is made is used, whatever the wall
/// clock says meanwhile; a wait in vain lasts as long as it was told to, by the other clock.
#[test]
fn deadlines_keep() {
    forbid_waiting_by_the_wall_clock();
    let short = Duration::from_millis(60);
    for wait in [
        Wait::Spin,
        Wait::default(),
        Wait::SpinThenPark {
            spin: Duration::ZERO,
        },
    ] {
        let ring = Options::new()
            .capacity_bytes(4096)
            .create_anonymous()
            .unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        tx.set_wait(wait);
        rx.set_wait(wait);
        let before = Instant::now();
        assert_eq!(
            rx.recv_timeout(&mut [0; 8], short),
            Err(RecvError::TimedOut)
        );
        assert!(before.elapsed() >= short);
        let receiver = thread::spawn(move || {
            let got = rx.recv_timeout(&mut [0; 8], HOUR);
            (rx, got)
        });
        let looks = LOOKS.load(Ordering::Relaxed);
        while LOOKS.load(Ordering::Relaxed) < looks + 1000 {
            let _jumped = SystemTime::now();
        }
        tx.send(b"late").unwrap();
        let (mut rx, got) = receiver.join().unwrap();
        assert_eq!(got, Ok(4));
        while tx.try_send(&[0; 1000]).is_ok() {}
        let before = Instant::now();
        assert_eq!(tx.send_timeout(&[0; 1000], short), Err(SendError::TimedOut));
        assert!(before.elapsed() >= short);
        let sender = thread::spawn(move || tx.send_timeout(&[0; 1000], HOUR));
        for _ in 0..1000 {
            let _jumped = SystemTime::now();
        }
        rx.skip(2).unwrap();
        assert_eq!(sender.join().unwrap(), Ok(()));
    }
}

/// Goal: nobody is taken for dead, gone or from another boot, and a role is not given away, because
/// of what time it seems to be. Method: attach, look, close and attach again on a file, with the
/// wall clock jumping back and forth between any two of these; only the hint for people has it.
#[test]
fn nobody_is_judged_by_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let place = Location::from(directory.path().join("ring"));
    let options = Options::new()
        .capacity_bytes(4096)
        .attach_timeout(Duration::ZERO);
    let mut times = Vec::new();
    let ring = options.create(&place).unwrap();
    for round in 0..20_u64 {
        let mut tx = ring.producer().unwrap();
        let mut rx = options.open(&place).unwrap().consumer().unwrap();
        assert_eq!(tx.totals().messages, round);
        tx.send(b"x").unwrap();
        assert_eq!(rx.recv(&mut [0; 8]), Ok(1));
        assert_eq!(rx.peer_state(), PeerState::Attached);
        assert!(ring.producer().is_err(), "it is held");
        times.push(rx.peer_holder().attached_unix_ns);
        drop(tx);
        assert_eq!(rx.peer_state(), PeerState::Closed);
    }
    assert!(
        !times.is_sorted(),
        "the hint follows the wall clock: {times:?}"
    );
}
