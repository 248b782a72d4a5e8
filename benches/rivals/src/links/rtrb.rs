//! rtrb: between threads only.

use rivals_harness::{Ends, Failure, Link, Mode, Receiver, Sender, Spec};

/// A queue of arrays.
pub(crate) struct Rtrb<const N: usize> {
    ends: Ends<Tx<N>, Rx<N>>,
}

pub(crate) struct Tx<const N: usize>(rtrb::Producer<[u8; N]>);
pub(crate) struct Rx<const N: usize>(rtrb::Consumer<[u8; N]>);

const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<(Tx<8>, Rx<8>)>();
};

impl<const N: usize> Link for Rtrb<N> {
    const MODE: Mode = Mode::Threads;
    type Tx = Tx<N>;
    type Rx = Rx<N>;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let (tx, rx) = rtrb::RingBuffer::new(spec.slots());
        Ok(Self {
            ends: Ends::new(Tx(tx), Rx(rx)),
        })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        self.ends.tx()
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        self.ends.rx()
    }
}

impl<const N: usize> Sender for Tx<N> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        let Some(message) = message.first_chunk() else {
            return;
        };
        while self.0.push(*message).is_err() {}
    }
}

impl<const N: usize> Receiver for Rx<N> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Ok(message) = self.0.pop() {
                buffer.copy_from_slice(&message);
                return N;
            }
        }
    }
}
