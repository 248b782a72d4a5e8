//! ringfire: a lossless ring of arrays in POSIX shared memory.

use std::path::PathBuf;

use ringfire::{FlowControl, RingConsumer, RingProducer, RingProducerBuilder};
use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec, fail};

/// A ring that its producer made: `tx` is taken in one process, `rx` attaches in the other.
pub(crate) struct Ringfire<const N: usize> {
    tx: std::sync::Mutex<Option<RingProducer<[u8; N]>>>,
    path: PathBuf,
}

pub(crate) struct Tx<const N: usize>(RingProducer<[u8; N]>);
pub(crate) struct Rx<const N: usize>(RingConsumer<[u8; N]>);

impl<const N: usize> Link for Ringfire<N> {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx<N>;
    type Rx = Rx<N>;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let path = PathBuf::from("/dev/shm").join(&spec.name);
        let tx = RingProducerBuilder::new(spec.slots_power() as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            .build(&path)?;
        Ok(Self {
            tx: std::sync::Mutex::new(Some(tx)),
            path,
        })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        let mut tx = self.tx.lock().map_err(|_| "panicked")?;
        tx.take().map(Tx).ok_or_else(|| "taken before".into())
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Rx(RingConsumer::<[u8; N]>::builder()
            .start_from_oldest()
            .attach(&self.path)?))
    }
}

impl<const N: usize> Sender for Tx<N> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        let Some(message) = message.first_chunk() else {
            fail("a message too short")
        };
        // `push` would sleep on a full ring.
        while self.0.try_push(message).is_err() {}
    }
}

impl<const N: usize> Receiver for Rx<N> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Some(message) = self.0.try_recv() {
                buffer.copy_from_slice(&message);
                return N;
            }
            core::hint::spin_loop(); // as its `BusySpin` does
        }
    }
}
