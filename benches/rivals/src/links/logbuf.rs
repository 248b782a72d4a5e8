//! nexus-logbuf: between threads only.

use rivals_harness::{Ends, Failure, Link, Mode, Receiver, Sender, Spec};

use nexus_logbuf::queue::spsc;

/// A ring of records.
#[derive(Debug)]
pub(crate) struct Logbuf(Ends<Tx, Rx>);

#[derive(Debug)]
pub(crate) struct Tx(spsc::Producer);

#[derive(Debug)]
pub(crate) struct Rx(spsc::Consumer);

const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<(Tx, Rx)>();
};

impl Link for Logbuf {
    const MODE: Mode = Mode::Threads;
    type Tx = Tx;
    type Rx = Rx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let (tx, rx) = spsc::new(spec.ring_bytes);
        Ok(Self(Ends::new(Tx(tx), Rx(rx))))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        self.0.tx()
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        self.0.rx()
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        loop {
            if let Ok(mut claim) = self.0.try_claim(message.len()) {
                claim.copy_from_slice(message);
                claim.commit();
                return;
            }
        }
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Some(claim) = self.0.try_claim() {
                let length = claim.len();
                if let Some(buffer) = buffer.get_mut(..length) {
                    buffer.copy_from_slice(&claim);
                }
                return length;
            }
        }
    }
}
