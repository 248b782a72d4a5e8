//! What an end has besides the protocol: its lease, its way of waiting, what it knows of the peer.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Corruption, Refused};
use crate::fork::ForkToken;
use crate::layout::{Role, word};
use crate::memory::Mapped;
use crate::peer::{self, Holder, PeerState};
use crate::region::Object;
use crate::ring::{self, Sleeper, bump};
use crate::role::{self, Lease};
use crate::wait::{self, Linux, Wait};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The deadline passed.
    TimedOut,
    /// The peer closed cleanly; said once for each session of the peer.
    Closed,
    /// The peer died; said once for each session of the peer.
    PeerGone,
}

/// One end's tie to the ring. Fields drop in this order: the mapping before the lease, so that no
/// successor takes the role while this end could still store.
#[derive(Debug)]
pub(crate) struct Link {
    own: Role,
    session: u64,
    mapped: Mapped,
    /// Held for its drop: the role is free once it is gone.
    _lease: Lease,
    object: Arc<Object>,
    token: ForkToken,
    /// The same token until damage was seen; then one that is nobody's. One load on the hot path
    /// asks for both.
    usable: ForkToken,
    damage: Option<Corruption>,
    sleeper: Sleeper,
    wait: Wait,
    /// The peer's session whose end was reported already.
    reported: u64,
    boot_id: [u64; 2],
}

/// What [`Link::new`] is made of.
#[derive(Debug)]
pub(crate) struct LinkParts {
    pub(crate) own: Role,
    pub(crate) session: u64,
    pub(crate) mapped: Mapped,
    pub(crate) lease: Lease,
    pub(crate) object: Arc<Object>,
    pub(crate) token: ForkToken,
    pub(crate) can_issue_barriers: bool,
    pub(crate) boot_id: [u64; 2],
}

impl Link {
    /// Ties an end to its ring.
    pub(crate) fn new(parts: LinkParts) -> Self {
        let LinkParts {
            own,
            session,
            mapped,
            lease,
            object,
            token,
            ..
        } = parts;
        Self {
            own,
            session,
            mapped,
            _lease: lease,
            object,
            token,
            usable: token,
            damage: None,
            sleeper: Sleeper::new(own, session, parts.can_issue_barriers),
            wait: Wait::default(),
            reported: 0,
            boot_id: parts.boot_id,
        }
    }

    /// Whether this process attached the end; `false` in a forked child. One load, no system call.
    #[inline]
    pub(crate) fn is_owner(&self) -> bool {
        self.token.is_owner()
    }

    /// Refuses to touch the ring in a forked child, and after damage was seen.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.usable.is_owner() {
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    #[cold]
    fn refused(&self) -> Refused {
        match self.damage {
            Some(damage) if self.is_owner() => Refused::Corrupt(damage),
            _ => Refused::Forked,
        }
    }

    /// Damage was seen: every further call reports it.
    pub(crate) fn refuse_from_now_on(&mut self, damage: Corruption) {
        self.damage = Some(damage);
        self.usable = ForkToken::nobodys();
    }

    /// This end's session number.
    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    /// The backing.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// The carrier.
    pub(crate) const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// How blocking calls wait.
    pub(crate) const fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// Wakes the peer that sleeps on this end's wake word.
    #[cold]
    pub(crate) fn wake_peer(&self) {
        self.mapped.futex_wake(word::WAKE.of(self.own));
    }

    /// An ending that lies before this end's attach concerns nobody here any more.
    pub(crate) fn forget_past_endings(&mut self) {
        if let Some((session, _)) = self.ended() {
            self.reported = session;
        }
    }

    /// The peer's session and how it ended, unless it goes on, never began, or was reported.
    fn ended(&self) -> Option<(u64, Ending)> {
        let (session, closed) = ring::read_session(&self.mapped, self.own.peer());
        if session == 0 || session == self.reported {
            None
        } else if closed {
            Some((session, Ending::Closed))
        } else if self.is_peer_attached() {
            None
        } else {
            Some((session, Ending::PeerGone))
        }
    }

    /// The peer's session whose end was reported last; zero for none.
    pub(crate) const fn reported(&self) -> u64 {
        self.reported
    }

    /// Notes that the end of a session is reported.
    pub(crate) const fn report(&mut self, session: u64) {
        self.reported = session;
    }

    /// Asks the kernel whether somebody holds the peer's role. When it cannot say, the answer is
    /// yes: nobody is declared dead on a guess.
    pub(crate) fn is_peer_attached(&self) -> bool {
        role::is_held(self.object.lock_fd(), self.own.peer().lock_byte()).unwrap_or(true)
    }

    /// What is known of the peer.
    pub(crate) fn peer_state(&self) -> PeerState {
        let held = self.is_peer_attached();
        let (session, closed) = ring::read_session(&self.mapped, self.own.peer());
        PeerState::judge(held, session, closed, &self.peer_holder())
    }

    /// What the peer's page says of its holder.
    pub(crate) fn peer_holder(&self) -> Holder {
        peer::read_holder(&self.mapped, self.own.peer())
    }

    /// Whether the peer's last attach happened under this boot, so that a futex reaches it.
    fn shares_kernel(&self) -> bool {
        let boot = peer::read_boot_id(&self.mapped, self.own.peer());
        boot == [0, 0] || boot == self.boot_id
    }

    /// Waits until `ready`, at most until `deadline`; tells when the peer ended instead.
    ///
    /// `wanted` is the position the peer must reach before it needs to wake this side.
    pub(crate) fn wait(
        &mut self,
        wanted: u64,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), Ending> {
        let spin = match self.wait {
            Wait::Spin => wait::RECHECK,
            Wait::SpinThenPark { spin } => spin,
        };
        if wait::spin(spin.min(wait::slice(deadline)), &mut ready) {
            return Ok(());
        }
        bump(&self.mapped, word::WAITS.of(self.own));
        loop {
            if let Some((session, ending)) = self.ended() {
                // Look once more: the peer's last publish comes before its end.
                if ready() {
                    return Ok(());
                }
                self.reported = session;
                return Err(ending);
            }
            let limit = wait::slice(deadline);
            if limit.is_zero() {
                return if ready() {
                    Ok(())
                } else {
                    Err(Ending::TimedOut)
                };
            }
            match self.wait {
                Wait::Spin => {
                    wait::spin(limit, &mut ready);
                }
                Wait::SpinThenPark { .. } if self.shares_kernel() => {
                    bump(&self.mapped, word::SLEEPS.of(self.own));
                    let kernel = Linux(&self.mapped);
                    let sleeper = &mut self.sleeper;
                    wait::park(&self.mapped, &kernel, sleeper, wanted, limit, &mut ready);
                }
                Wait::SpinThenPark { .. } => wait::nap(limit),
            }
            if ready() {
                return Ok(());
            }
        }
    }
}
