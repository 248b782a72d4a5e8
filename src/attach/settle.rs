//! The durable part of an attach: recover what is cold, go on where checkpoints are.

use super::{Attach, Ring};
use crate::checkpoint::{self, Checkpointer};
use crate::cold::{self, Failure, Found, Manner};
use crate::durability::{Durability, Worker};
use crate::error::{CheckpointError, Corruption, Damage, OpenError};
use crate::layout::{Role, word};
use crate::memory::{Mapped, Memory, Order};
use crate::peer::Myself;
use crate::recovery::{self, Recovery, RecoveryState, Resumed};
use crate::region::{Access, Backing, Object};
use crate::ring::{Geometry, ProducerCore, read_session};
use crate::role::Lease;
use crate::state::{self, Here, State};

impl Ring {
    /// Whether the ring was made to outlive a power cut: see
    /// [`Options::durable`](crate::Options::durable).
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// assert!(!ring.is_durable());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn is_durable(&self) -> bool {
        self.identity.durable()
    }

    /// Recovers a durable ring now, if a power cut, a reboot, an unmount or a copy made that
    /// necessary, and tells what it holds. Attaching an end does the same by itself.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotDurable`] for a ring that is not durable; otherwise as [`Ring::producer`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir_in("/var/tmp")?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{OpenError, Options, RecoveryState};
    /// let ring = match Options::new().durable(true).create(&place) {
    ///     Err(OpenError::NotDurable { .. }) => return Ok(()), // no disk here
    ///     made => made?,
    /// };
    /// assert_eq!(ring.recover()?.state, RecoveryState::New);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recover(&self) -> Result<Recovery, OpenError> {
        if !self.identity.durable() {
            return Err(OpenError::NotDurable {
                name: self.object.name().to_owned(),
                why: self.why_not_durable(),
            });
        }
        let attach = self.begin(Role::Producer, None)?;
        let geometry = Geometry::new(&self.identity);
        let recovered = recovery::producer(&attach.mapped, &geometry, attach.trusts_backlog());
        let resumed = recovered.map_err(|what| self.corrupt(what))?;
        Ok(Self::report(&attach, &geometry, &resumed))
    }

    pub(crate) fn here(&self, myself: &Myself) -> Here {
        here(&self.object, self.identity.durable(), myself.boot_id)
    }

    /// Sees in which state a durable ring is, and recovers it if it is cold. The caller holds the
    /// attach lock and the role `own`.
    pub(super) fn settle(
        &self,
        own: Role,
        mapped: &Mapped,
        here: &Here,
        peer_is_live: bool,
    ) -> Result<Option<Found>, OpenError> {
        if here.mount == 0 {
            // The words may be from before the last mount, or this end's may seem to be later.
            return Err(OpenError::NotDurable {
                name: self.object.name().to_owned(),
                why: self.object.doubts()?.unwrap_or("a disk that is no more"),
            });
        }
        match state::judge(mapped, own, here, peer_is_live, self.distrusts_memory) {
            State::Live | State::SameBoot => Ok(None),
            State::Poisoned => Err(OpenError::Poisoned {
                name: self.object.name().to_owned(),
            }),
            State::Contradiction { own, peer } => Err(OpenError::Damaged {
                name: self.object.name().to_owned(),
                field: "recovery generation",
                expected: own,
                found: peer,
            }),
            State::Cold => self.recover_cold(own, here).map(Some),
        }
    }

    /// Takes the other role too and recovers all of the ring.
    fn recover_cold(&self, own: Role, here: &Here) -> Result<Found, OpenError> {
        let name = self.object.name();
        if let Some(why) = self.object.doubts()? {
            return Err(OpenError::NotDurable {
                name: name.to_owned(),
                why,
            });
        }
        let Some(_other_role) = Lease::try_take(&self.object, own.peer().lock_byte())? else {
            return Err(OpenError::Busy {
                name: name.to_owned(),
                waited_ms: 0,
            });
        };
        let everything = Mapped::new(std::sync::Arc::new(self.map(Access::Pair)?));
        let manner = Manner {
            here: *here,
            doubt_clean_pages: state::may_be_clean_and_lost(&everything, here),
        };
        let geometry = Geometry::new(&self.identity);
        cold::recover(&everything, &geometry, manner).map_err(|failure| match failure {
            Failure::Corrupt(what) => self.corrupt(what),
            Failure::DataLoss {
                acknowledged,
                found,
            } => OpenError::DataLoss {
                name: name.to_owned(),
                acknowledged,
                found,
            },
            Failure::Sync(errno) => OpenError::os(
                name,
                "bring its recovery to the medium",
                std::io::Error::from_raw_os_error(errno),
            ),
        })
    }

    /// From where on a producer may overwrite: the consumer's head, in a durable ring its durable
    /// one.
    pub(super) fn free_from(
        &self,
        attach: &Attach,
        geometry: &Geometry,
        resumed: &Resumed,
    ) -> Result<u64, OpenError> {
        if !geometry.durable {
            return Ok(resumed.head);
        }
        recovery::durable_head(&attach.mapped, geometry, resumed).map_err(|what| self.corrupt(what))
    }

    /// What the end has for power cuts.
    pub(super) fn durability(
        &self,
        attach: &Attach,
        geometry: &Geometry,
        resumed: &Resumed,
    ) -> Result<Durability, OpenError> {
        let recovery = Self::report(attach, geometry, resumed);
        if !geometry.durable {
            let why = self.why_not_durable();
            return Ok(Durability::none(attach.role, recovery, why));
        }
        let mapped = &attach.mapped;
        let missing = || self.corrupt(no_slot());
        // Closed or not: what closed last may have made no checkpoint, and then did not make good
        // what its own predecessor left when it died.
        let inherits = attach.session > 1 && attach.cold.is_none();
        let checkpointer = Checkpointer::load(mapped, geometry, attach.role, inherits);
        let checkpointer = checkpointer.ok_or_else(missing)?;
        let (reached, what) = match attach.role {
            Role::Producer => (resumed.tail, Damage::Tail),
            Role::Consumer => (resumed.head, Damage::Head),
        };
        cold::check_against_slot(&checkpointer, reached, what)
            .map_err(|what| self.corrupt(what))?;
        let origins = checkpoint::newest(mapped, Role::Producer, geometry.seed());
        let worker = Worker::new(attach.role, *geometry, checkpointer);
        Ok(Durability::new(
            recovery,
            worker,
            origins.ok_or_else(missing)?,
        ))
    }

    /// What a predecessor wrote and did not publish is erased before anything new is published.
    pub(super) fn erase_abandoned(
        &self,
        core: &mut ProducerCore<Mapped>,
        durability: &mut Durability,
    ) -> Result<(), OpenError> {
        if !core.geometry().durable {
            return Ok(());
        }
        core.memory()
            .store(word::SHORT.of(Role::Producer), 0, Order::RELAXED);
        core.inherit_reach();
        durability
            .erase_abandoned(core)
            .map_err(|error| match error {
                CheckpointError::Sync { errno } => OpenError::os(
                    self.object.name(),
                    "bring it to the medium",
                    std::io::Error::from_raw_os_error(errno),
                ),
                _ => OpenError::Poisoned {
                    name: self.object.name().to_owned(),
                },
            })
    }

    fn why_not_durable(&self) -> &'static str {
        match self.object.backing() {
            Backing::File => "a ring that was not made durable",
            _ => self.object.doubts().ok().flatten().unwrap_or("memory"),
        }
    }

    fn report(attach: &Attach, geometry: &Geometry, resumed: &Resumed) -> Recovery {
        let own_session = attach.session;
        let (peer_session, _) = read_session(&attach.mapped, attach.role.peer());
        let state = match attach.cold {
            Some(_) => RecoveryState::Cold,
            None if attach.peer_is_live => RecoveryState::Live,
            None if own_session == 1 && peer_session == 0 => RecoveryState::New,
            None => RecoveryState::SameBoot,
        };
        let slot = geometry
            .durable
            .then(|| checkpoint::newest(&attach.mapped, Role::Producer, geometry.seed()))
            .flatten();
        Recovery {
            state,
            incarnation: slot.map_or(0, |slot| slot.incarnation),
            head: resumed.head,
            tail: resumed.tail,
            kept_messages: resumed.kept_messages,
            dropped_messages: attach.cold.map_or(0, |found| found.dropped_messages),
            possibly_acknowledged_bytes: attach
                .cold
                .map_or(0, |found| found.possibly_acknowledged_bytes),
        }
    }
}

/// Where a ring lies, and under which boot this is; the mount matters to durable ones only.
pub(crate) fn here(object: &Object, is_durable: bool, boot: [u64; 2]) -> Here {
    let id = object.file_id();
    Here {
        boot,
        home: [id.device, id.inode],
        mount: if is_durable { object.mount_number() } else { 0 },
    }
}

impl Attach {
    /// Whether what waits between head and tail is known to be sound: its producer is there, or a
    /// cold recovery has walked all of it under this very lock.
    pub(super) const fn trusts_backlog(&self) -> bool {
        self.peer_is_live || self.cold.is_some()
    }
}

const fn no_slot() -> Corruption {
    Corruption {
        what: Damage::Checkpoint,
        position: 0,
        expected: 1,
        found: 0,
    }
}
