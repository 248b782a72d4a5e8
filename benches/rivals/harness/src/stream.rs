//! One way, one message at a time, as fast as it goes. The compiler knows the size `N`, unless it is
//! 0.

use std::hint::black_box;

use crate::cell::{Cell, Output};
use crate::clock::now;
use crate::duo::{self, Control};
use crate::link::{Failure, Link, Receiver, Sender, fail};
use crate::messages::{Buffer, END, Pool, exactly, exactly_mut, number};

/// The producer looks whether to stop after so many messages, the consumer at the clock.
const BURST: u64 = 16;

/// Measures a stream, at its receiving end.
///
/// # Errors
///
/// What the transport says.
pub fn measure<L: Link, const N: usize>(cell: &Cell) -> Result<Output, Failure> {
    let link = L::make(&cell.spec("stream"))?;
    duo::run(
        L::MODE,
        cell,
        |control| {
            let mut rx = link.rx()?;
            control.meet();
            Ok(consume::<N>(&mut rx, cell, control))
        },
        |control| {
            let mut tx = link.tx()?;
            control.meet();
            produce::<N>(&mut tx, cell.bytes, control);
            Ok(())
        },
    )
}

fn produce<const N: usize>(tx: &mut impl Sender, bytes: usize, control: &Control) {
    let mut pool = Pool::new(bytes);
    let mut index = 0;
    while !control.stopped() {
        for _ in 0..BURST {
            tx.send(exactly::<N>(black_box(pool.message(index))));
            index += 1;
        }
    }
    tx.send(pool.end());
}

fn consume<const N: usize>(rx: &mut impl Receiver, cell: &Cell, control: &Control) -> Output {
    let mut buffer = Buffer::new(cell.bytes);
    let mut expected = Pool::new(cell.bytes);
    let mut index = 0;
    // To warm up: for a part of the time, and if possible once through the buffer.
    let lap = (cell.ring_bytes / cell.bytes) as u64;
    let started = now();
    loop {
        for _ in 0..BURST {
            next::<N>(rx, &mut buffer, index);
            if index < 1024 && buffer.bytes_mut() != expected.message(index) {
                fail("a message came changed");
            }
            index += 1;
        }
        let elapsed = now() - started;
        if elapsed > cell.ticks / 2 || (elapsed > cell.ticks / 16 && index > lap) {
            break;
        }
    }
    duo::mark(duo::BEGIN);
    let (first, started) = (index, now());
    let ticks = loop {
        for _ in 0..BURST {
            next::<N>(rx, &mut buffer, index);
            index += 1;
        }
        let elapsed = now() - started;
        if elapsed > cell.ticks {
            break elapsed;
        }
    };
    let messages = index - first;
    duo::mark(duo::END);
    control.stop();
    loop {
        rx.recv(exactly_mut::<N>(buffer.bytes_mut()));
        if number(buffer.bytes_mut()) == END {
            break;
        }
    }
    Output::of_counts(messages, ticks)
}

#[inline]
fn next<const N: usize>(rx: &mut impl Receiver, buffer: &mut Buffer, index: u64) {
    let length = rx.recv(exactly_mut::<N>(buffer.bytes_mut()));
    let received = black_box(buffer.bytes_mut());
    if length != received.len() || number(received) != index {
        let found = number(received);
        fail(format_args!(
            "message {index} came as {found}, {length} bytes long"
        ));
    }
}
