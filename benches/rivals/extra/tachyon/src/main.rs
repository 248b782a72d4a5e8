//! tachyon: a bus in a memory file, handed over through a socket. `tachyon` is as it comes;
//! `tachyon-poll` has given up sleeping.
#![expect(
    clippy::inline_always,
    reason = "loops are compiled for each size of a message; so is what a transport inlines there"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use rivals_harness::{Cell, Failure, Link, Mode, Receiver, Sender, Spec, fail, worker};
use tachyon_ipc::{Bus, TachyonError};

fn main() -> ExitCode {
    worker::main(Cell::measure::<Tachyon>).unwrap_or(ExitCode::FAILURE)
}

struct Tachyon {
    path: PathBuf,
    ring_bytes: usize,
    poll: bool,
}

struct Tx(Bus);
struct Rx(Bus, u32);

impl Tachyon {
    fn socket(&self) -> Result<&str, Failure> {
        self.path.to_str().ok_or_else(|| "not a name".into())
    }

    fn ready(&self, bus: Bus) -> Bus {
        if self.poll {
            bus.set_polling_mode(1);
        }
        bus
    }
}

impl Drop for Tachyon {
    fn drop(&mut self) {
        // It is gone already if all went well.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Link for Tachyon {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx;
    type Rx = Rx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        Ok(Self {
            path: PathBuf::from("/dev/shm").join(format!("{}.sock", spec.name)),
            ring_bytes: spec.ring_bytes,
            poll: spec.transport == "tachyon-poll",
        })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        // Until the other side listens.
        loop {
            match Bus::connect(self.socket()?) {
                Ok(bus) => return Ok(Tx(self.ready(bus))),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        let bus =
            Bus::listen(self.socket()?, self.ring_bytes).map_err(|error| format!("{error:?}"))?;
        // Looks before it would sleep: as many as in its tests, or all there are.
        let spins = if self.poll { u32::MAX } else { 10_000 };
        Ok(Rx(self.ready(bus), spins))
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        loop {
            match self.0.send(message, 1) {
                Ok(()) => return,
                Err(TachyonError::BufferFull) => {}
                Err(error) => fail(format_args!("{error:?}")),
            }
        }
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.acquire_rx(self.1) {
            Ok(guard) => {
                let length = guard.actual_size;
                if let Some(buffer) = buffer.get_mut(..length) {
                    buffer.copy_from_slice(guard.data());
                }
                if let Err(error) = guard.commit() {
                    fail(format_args!("{error:?}"));
                }
                length
            }
            Err(error) => fail(format_args!("{error:?}")),
        }
    }
}
