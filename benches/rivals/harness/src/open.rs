//! Latency one way under a load that does not wait: messages are due at fixed times, and a message
//! that is sent late counts from when it was due.

use std::hint::black_box;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::cell::{Cell, Output};
use crate::clock::now;
use crate::duo;
use crate::link::{Failure, Link, Receiver, Sender, fail};
use crate::messages::{Buffer, END, Pool, number};

/// The word that holds when message zero is due.
const START: usize = 0;

/// Measures latencies, at the receiving end.
///
/// # Errors
///
/// What the transport says.
pub fn latencies<L: Link>(cell: &Cell) -> Result<Output, Failure> {
    let link = L::make(&cell.spec("open"))?;
    let count = cell.ticks / cell.gap_ticks;
    duo::run(
        L::MODE,
        cell,
        |control| {
            let mut rx = link.rx()?;
            let mut buffer = Buffer::new(cell.bytes);
            let mut samples = vec![1; usize::try_from(count)?];
            control.meet();
            for (index, sample) in samples.iter_mut().enumerate() {
                let length = rx.recv(buffer.bytes_mut());
                let stamp = now();
                let received = black_box(buffer.bytes_mut());
                if length != received.len() || number(received) != index as u64 {
                    let found = number(received);
                    fail(format_args!(
                        "message {index} came as {found}, {length} bytes long"
                    ));
                }
                let start = control.word(START).load(Acquire);
                *sample = stamp.saturating_sub(start + index as u64 * cell.gap_ticks);
            }
            rx.recv(buffer.bytes_mut());
            let warm = samples.len() / 10;
            Ok(Output::of_samples(&samples[warm..]))
        },
        |control| {
            let mut tx = link.tx()?;
            let mut pool = Pool::new(cell.bytes);
            control.meet();
            let start = now() + cell.gap_ticks * 10;
            control.word(START).store(start, Release);
            for index in 0..count {
                while now() < start + index * cell.gap_ticks {}
                tx.send(black_box(pool.message(index)));
            }
            tx.send(pool.end());
            Ok(())
        },
    )
}

/// Measures how long each send takes at a fixed rate, at the sending end.
///
/// # Errors
///
/// What the transport says.
pub fn sends<L: Link>(cell: &Cell) -> Result<Output, Failure> {
    let link = L::make(&cell.spec("sends"))?;
    let count = cell.ticks / cell.gap_ticks;
    duo::run(
        L::MODE,
        cell,
        |control| {
            let mut tx = link.tx()?;
            let mut pool = Pool::new(cell.bytes);
            let mut samples = vec![1; usize::try_from(count)?];
            control.meet();
            let mut due = now();
            for (sample, index) in samples.iter_mut().zip(0..) {
                due += cell.gap_ticks;
                while now() < due {}
                let message = pool.message(index);
                let before = now();
                tx.send(black_box(message));
                *sample = now() - before;
            }
            tx.send(pool.end());
            Ok(Output::of_samples(&samples))
        },
        |control| {
            let mut rx = link.rx()?;
            let mut buffer = Buffer::new(cell.bytes);
            control.meet();
            loop {
                rx.recv(buffer.bytes_mut());
                if number(buffer.bytes_mut()) == END {
                    return Ok(());
                }
            }
        },
    )
}
