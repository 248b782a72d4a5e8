//! Removing a ring that nobody holds, by the kernel's word.
//!
//! Whoever attaches takes the attach lock first and looks then whether the ring still has a name. So
//! under that lock nobody can arrive: a role that is free stays free until the name is gone.

use std::time::Instant;

use super::Ring;
use crate::error::OpenError;
use crate::layout::Role;
use crate::location::Location;
use crate::options::Options;
use crate::peer::Holder;
use crate::region::{self, Backing};
use crate::role::{self, AttachLock};

impl Ring {
    /// Removes the ring's name, unless a role is held. Whoever has it open keeps what it has.
    ///
    /// # Errors
    ///
    /// [`OpenError::RoleTaken`] while somebody holds a role; [`OpenError::NotFound`] when the name
    /// is gone or means another file by now; [`OpenError::InvalidOption`] for a ring without a
    /// name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{OpenError, Options};
    /// let ring = Options::new().create(&place)?;
    /// let tx = ring.producer()?;
    /// assert!(matches!(ring.remove(), Err(OpenError::RoleTaken { .. })));
    /// drop(tx);
    /// ring.remove()?;
    /// assert!(matches!(Options::new().open(&place), Err(OpenError::NotFound { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self) -> Result<(), OpenError> {
        let _lock = AttachLock::take(&self.object, self.attach_timeout)?;
        let deadline = Instant::now().checked_add(self.attach_timeout);
        for role in [Role::Producer, Role::Consumer] {
            let failed = |error| OpenError::os(self.object.name(), "ask who holds it", error);
            while role::is_held(self.object.lock_fd(), role.lock_byte()).map_err(failed)? {
                self.wait_for_leaver(role, deadline)?;
            }
        }
        self.object.unlink()
    }
}

impl Options {
    /// Removes the ring at `location`, unless a role is held: see [`Ring::remove`]. Also one that can
    /// not be opened any more, because it is damaged or a copy, as long as it is in a file or in
    /// shared memory and begins as a ring does.
    ///
    /// # Errors
    ///
    /// As [`Ring::remove`]; [`OpenError::NotARing`] and the other findings of [`Options::open`], but
    /// for damage. Nothing is removed then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.ring");
    /// # let place = ringduct::Location::from(&*path);
    /// use ringduct::{OpenError, Options};
    /// Options::new().create(&place)?;
    /// std::fs::OpenOptions::new().write(true).open(&path)?.set_len(4096)?; // damaged
    /// assert!(matches!(Options::new().open(&place), Err(OpenError::NotARing { .. })));
    /// Options::new().remove(&place)?;
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, location: &Location) -> Result<(), OpenError> {
        let refusal = match self.open(location) {
            Ok(ring) => return ring.remove(),
            Err(refusal) => refusal,
        };
        let is_ruin = matches!(
            refusal,
            OpenError::Damaged { .. } | OpenError::Cold { .. } | OpenError::NotARing { .. }
        );
        if !is_ruin {
            return Err(refusal);
        }
        let object = region::open(location, self.trust(), false)?;
        let header = object.read_header()?;
        // The roles of a segment are locked in another file, which a damaged header does not name.
        let has_locks = matches!(object.backing(), Backing::File | Backing::Shm);
        if !has_locks || !header.has_magic() {
            return Err(refusal);
        }
        let _lock = AttachLock::take(&object, self.attach_timeout_or_default())?;
        for role in [Role::Producer, Role::Consumer] {
            let failed = |error| OpenError::os(object.name(), "ask who holds it", error);
            if role::is_held(object.lock_fd(), role.lock_byte()).map_err(failed)? {
                return Err(OpenError::RoleTaken {
                    name: object.name().to_owned(),
                    role,
                    holder: Box::new(Holder::default()), // its page may be anywhere
                });
            }
        }
        object.unlink()
    }
}
