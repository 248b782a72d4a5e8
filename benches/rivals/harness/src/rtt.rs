//! Round trips: one message there, one back, one at a time. The compiler knows the size `N`, unless
//! it is 0.

use std::hint::black_box;

use crate::cell::{Cell, Output};
use crate::clock::now;
use crate::duo;
use crate::link::{Failure, Link, Receiver, Sender, fail};
use crate::messages::{Buffer, END, Pool, exactly, exactly_mut, number};

/// Round trips that warm up at least.
const WARM_UP: u64 = 100;

/// At most so many samples.
const MAX_SAMPLES: u64 = 1 << 20;

/// Measures round trips.
///
/// # Errors
///
/// What the transport says.
pub fn measure<L: Link, const N: usize>(cell: &Cell) -> Result<Output, Failure> {
    let there = L::make(&cell.spec("there"))?;
    let back = L::make(&cell.spec("back"))?;
    duo::run(
        L::MODE,
        cell,
        |control| {
            let (mut tx, mut rx) = (there.tx()?, back.rx()?);
            control.meet();
            Ok(ask::<N>(&mut tx, &mut rx, cell))
        },
        |control| {
            let (mut rx, mut tx) = (there.rx()?, back.tx()?);
            control.meet();
            answer::<N>(&mut rx, &mut tx, cell.bytes);
            Ok(())
        },
    )
}

fn ask<const N: usize>(tx: &mut impl Sender, rx: &mut impl Receiver, cell: &Cell) -> Output {
    let mut pool = Pool::new(cell.bytes);
    let mut expected = Pool::new(cell.bytes);
    let mut buffer = Buffer::new(cell.bytes);
    let mut index = 0;
    let (started, warm_ticks) = (now(), cell.ticks / 8);
    while index < WARM_UP || now() - started < warm_ticks {
        trip::<N>(tx, rx, pool.message(index), &mut buffer, index);
        if buffer.bytes_mut() != expected.message(index) {
            fail("a message came back changed");
        }
        index += 1;
    }
    let each = ((now() - started) / index).max(1);
    let count = (cell.ticks / each).clamp(WARM_UP, MAX_SAMPLES);
    let mut samples = vec![1; usize::try_from(count).unwrap_or(0)];
    let mut last = now();
    for sample in &mut samples {
        trip::<N>(tx, rx, pool.message(index), &mut buffer, index);
        let stamp = now();
        *sample = stamp - last;
        last = stamp;
        index += 1;
    }
    tx.send(pool.end());
    Output::of_samples(&samples)
}

#[inline]
fn trip<const N: usize>(
    tx: &mut impl Sender,
    rx: &mut impl Receiver,
    message: &[u8],
    buffer: &mut Buffer,
    index: u64,
) {
    tx.send(exactly::<N>(black_box(message)));
    let length = rx.recv(exactly_mut::<N>(buffer.bytes_mut()));
    let received = black_box(buffer.bytes_mut());
    if length != received.len() || number(received) != index {
        let found = number(received);
        fail(format_args!(
            "message {index} came as {found}, {length} bytes long"
        ));
    }
}

fn answer<const N: usize>(rx: &mut impl Receiver, tx: &mut impl Sender, bytes: usize) {
    let mut pool = Pool::new(bytes);
    let mut buffer = Buffer::new(bytes);
    for index in 0.. {
        let length = rx.recv(exactly_mut::<N>(buffer.bytes_mut()));
        let received = black_box(buffer.bytes_mut());
        let found = number(received);
        if found == END {
            return;
        }
        if length != bytes || found != index {
            fail(format_args!(
                "message {index} came as {found}, {length} bytes long"
            ));
        }
        tx.send(exactly::<N>(black_box(pool.message(index))));
    }
}
