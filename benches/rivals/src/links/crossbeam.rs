//! `ArrayQueue` of crossbeam: between threads only.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec};

/// A queue of arrays.
#[derive(Debug)]
pub(crate) struct Crossbeam<const N: usize>(Arc<ArrayQueue<[u8; N]>>);

const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Crossbeam<8>>();
};

impl<const N: usize> Link for Crossbeam<N> {
    const MODE: Mode = Mode::Threads;
    type Tx = Self;
    type Rx = Self;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        Ok(Self(Arc::new(ArrayQueue::new(spec.slots()))))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Self(Arc::clone(&self.0)))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Self(Arc::clone(&self.0)))
    }
}

impl<const N: usize> Sender for Crossbeam<N> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        let Some(message) = message.first_chunk() else {
            return;
        };
        while self.0.push(*message).is_err() {}
    }
}

impl<const N: usize> Receiver for Crossbeam<N> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Some(message) = self.0.pop() {
                buffer.copy_from_slice(&message);
                return N;
            }
        }
    }
}
