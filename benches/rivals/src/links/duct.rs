//! ringduct, in all its flavours: the parts of the name say which.

use std::os::fd::AsRawFd;

use ringduct::{Consumer, Location, Options, Producer, Ring, Trusted, Wait};
use rivals_harness::{Cell, Failure, Kind, Link, Mode, Output, Receiver, Sender, Spec, fail};

/// What the parts of a name stand for: `ringduct-shm-spin-trusted`.
#[derive(Clone, Debug)]
pub(crate) struct Flavour {
    place: Place,
    wait: Wait,
    trusted: bool,
    checksum: bool,
    /// Whether the consumer maps the data writable; the library's default is not to.
    writable_data: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Shm,
    File,
    Memfd,
}

impl Flavour {
    /// Reads a name.
    pub(crate) fn of(transport: &str) -> Result<Self, Failure> {
        let mut flavour = Self {
            place: Place::Shm,
            wait: Wait::default(),
            trusted: false,
            checksum: false,
            writable_data: true,
        };
        let mut parts = transport.split('-');
        if parts.next() != Some("ringduct") {
            return Err(format!("no transport is called {transport:?}").into());
        }
        for part in parts {
            match part {
                "shm" => flavour.place = Place::Shm,
                "file" => flavour.place = Place::File,
                "memfd" => flavour.place = Place::Memfd,
                "park" => flavour.wait = Wait::default(),
                "spin" => flavour.wait = Wait::Spin,
                "trusted" => flavour.trusted = true,
                "checksum" => flavour.checksum = true,
                "readonly" => flavour.writable_data = false,
                "again" => {}
                other => return Err(format!("no ringduct is called {other:?}").into()),
            }
        }
        Ok(flavour)
    }
}

/// Measures one cell over the ringduct it names.
pub(crate) fn measure(cell: &Cell) -> Result<Output, Failure> {
    match cell.kind {
        Kind::Wake => return crate::wake::measure(cell),
        Kind::Syscalls => return crate::syscalls::measure::<Duct>(cell),
        Kind::Instructions => return crate::instructions::work(cell),
        Kind::Touch => return crate::touch::measure(cell),
        Kind::Rtt | Kind::Stream | Kind::Open | Kind::Sends => {}
    }
    if Flavour::of(&cell.transport)?.trusted {
        cell.measure::<Vouched>()
    } else {
        cell.measure::<Duct>()
    }
}

/// A ring with its safe ends.
#[derive(Debug)]
pub(crate) struct Duct {
    ring: Ring,
    place: Option<Location>,
    options: Options,
    wait: Wait,
}

impl Duct {
    /// The ring as another program would find it.
    fn found(&self) -> Result<Ring, Failure> {
        Ok(match &self.place {
            Some(place) => self.options.open(place)?,
            None => self
                .options
                .open(&Location::Fd(self.ring.descriptor()?.as_raw_fd()))?,
        })
    }
}

impl Drop for Duct {
    fn drop(&mut self) {
        if self.place.is_some() {
            // Nobody is left to tell.
            drop(self.ring.remove());
        }
    }
}

impl Link for Duct {
    const MODE: Mode = Mode::Processes;
    type Tx = Safe<Producer>;
    type Rx = Safe<Consumer>;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let flavour = Flavour::of(&spec.transport)?;
        let options = Options::new()
            .capacity_bytes(spec.ring_bytes as u64)
            .checksum(flavour.checksum)
            .writable_data(flavour.writable_data)
            .prefault(true);
        let place = match flavour.place {
            Place::Shm => Some(Location::Shm(spec.name.clone())),
            Place::File => Some(Location::from(spec.dir.join(&spec.name))),
            Place::Memfd => None,
        };
        let ring = match &place {
            Some(place) => options.create(place)?,
            None => options.create_memfd(&spec.name)?,
        };
        Ok(Self {
            ring,
            place,
            options,
            wait: flavour.wait,
        })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        let mut tx = self.found()?.producer()?;
        tx.set_wait(self.wait);
        Ok(Safe(tx))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        let mut rx = self.found()?.consumer()?;
        rx.set_wait(self.wait);
        Ok(Safe(rx))
    }
}

/// An end that copies and checks.
#[derive(Debug)]
pub(crate) struct Safe<E>(E);

impl Sender for Safe<Producer> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.0.send(message) {
            fail(error)
        }
    }
}

impl Receiver for Safe<Consumer> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.recv(buffer) {
            Ok(length) => length,
            Err(error) => fail(error),
        }
    }
}

/// A ring whose ends vouch for each other: a claim in place, a borrowed view, and one copy each.
#[derive(Debug)]
pub(crate) struct Vouched(Duct);

/// An end that borrows.
#[derive(Debug)]
pub(crate) struct InPlace<E>(E);

impl Link for Vouched {
    const MODE: Mode = Mode::Processes;
    type Tx = InPlace<Producer<Trusted>>;
    type Rx = InPlace<Consumer<Trusted>>;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        Ok(Self(Duct::make(spec)?))
    }

    #[expect(unsafe_code, reason = "vouches for the peer")]
    fn tx(&self) -> Result<Self::Tx, Failure> {
        // SAFETY: the peer is this program, and nobody else may write the ring.
        Ok(InPlace(unsafe { self.0.tx()?.0.trust_peer() }))
    }

    #[expect(unsafe_code, reason = "vouches for the peer")]
    fn rx(&self) -> Result<Self::Rx, Failure> {
        // SAFETY: the peer is this program, and nobody else may write the ring.
        Ok(InPlace(unsafe { self.0.rx()?.0.trust_peer() }))
    }
}

impl Sender for InPlace<Producer<Trusted>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        match self.0.claim(message.len(), None) {
            Ok(mut claim) => {
                claim.copy_from_slice(message);
                claim.commit();
            }
            Err(error) => fail(error),
        }
    }
}

impl Receiver for InPlace<Consumer<Trusted>> {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.view(None) {
            Ok(view) => {
                let length = view.len();
                if let Some(buffer) = buffer.get_mut(..length) {
                    buffer.copy_from_slice(&view);
                }
                length
            }
            Err(error) => fail(error),
        }
    }
}
