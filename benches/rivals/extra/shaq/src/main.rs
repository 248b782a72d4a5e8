//! shaq: a queue of arrays in POSIX shared memory.
#![expect(
    clippy::inline_always,
    reason = "loops are compiled for each size of a message; so is what a transport inlines there"
)]

use std::fs::{File, remove_file};
use std::path::PathBuf;
use std::process::ExitCode;

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec, fail, measure_sized, worker};
use shaq::spsc::{Consumer, Producer, minimum_file_size};

fn main() -> ExitCode {
    worker::main(|cell| measure_sized!(cell, Shaq)).unwrap_or(ExitCode::FAILURE)
}

struct Shaq<const N: usize>(PathBuf);

struct Tx<const N: usize>(Producer<[u8; N]>);
struct Rx<const N: usize>(Consumer<[u8; N]>);

impl<const N: usize> Shaq<N> {
    fn open(&self) -> Result<File, Failure> {
        Ok(File::options().read(true).write(true).open(&self.0)?)
    }
}

impl<const N: usize> Drop for Shaq<N> {
    fn drop(&mut self) {
        // Nobody is left to tell.
        drop(remove_file(&self.0));
    }
}

impl<const N: usize> Link for Shaq<N> {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx<N>;
    type Rx = Rx<N>;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let path = PathBuf::from("/dev/shm").join(&spec.name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        let link = Self(path);
        let bytes = minimum_file_size::<[u8; N]>(spec.slots_power()).next_multiple_of(4096);
        // SAFETY: the file is new, and initialised here and nowhere else; the producer ends at
        // once, so that another may join.
        drop(unsafe { Producer::<[u8; N]>::create(&file, bytes) }.map_err(|error| text(&error))?);
        Ok(link)
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        // SAFETY: the only producer; arrays of bytes are valid in every process.
        Ok(Tx(
            unsafe { Producer::join(&self.open()?) }.map_err(|error| text(&error))?
        ))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        // SAFETY: the only consumer, of the type that the producer sends.
        Ok(Rx(
            unsafe { Consumer::join(&self.open()?) }.map_err(|error| text(&error))?
        ))
    }
}

fn text(error: &shaq::error::Error) -> String {
    error.to_string()
}

impl<const N: usize> Sender for Tx<N> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        let Some(message) = message.first_chunk() else {
            fail("a message too short")
        };
        while self.0.try_write(*message).is_err() {}
    }
}

impl<const N: usize> Receiver for Rx<N> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Some(message) = self.0.try_read() {
                buffer.copy_from_slice(&message);
                return N;
            }
        }
    }
}
