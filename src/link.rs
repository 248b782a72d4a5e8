//! What an end has besides the protocol: its lease, its way of waiting, what it knows of the peer.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{CheckpointError, Corruption, Damage, Refused};
use crate::fork::ForkToken;
use crate::layout::{Page, Role, word};
use crate::memory::{Mapped, Memory};
use crate::pace::{self, Pace};
use crate::peer::{self, Holder, PeerState};
use crate::region::Object;
use crate::ring::{self, Progress, Sleeper, bump};
use crate::role::{self, Lease};
use crate::sync::Slept;
use crate::wait::{self, Linux, Pause, Wait};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The deadline passed.
    TimedOut,
    /// The peer closed cleanly; said once for each session of the peer.
    Closed,
    /// The peer died; said once for each session of the peer.
    PeerGone,
    /// The ring can not be used any more.
    Refused(Refused),
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// How far this side has come.
    pub(crate) done: Progress,
    /// The position that the peer must reach before it needs to wake this side.
    pub(crate) wanted: u64,
    pub(crate) deadline: Option<Instant>,
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
    /// As alive as that until damage was seen, or a page of the mapping was found missing. One load
    /// on the hot path asks for all of it.
    usable: ForkToken,
    damage: Option<Corruption>,
    sleeper: Sleeper,
    wait: Wait,
    pace: Pace,
    /// The peer's session whose end was reported already.
    reported: u64,
    /// The peer's session as seen last while waiting.
    met: u64,
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
            usable: mapped.mapping().intact(),
            mapped,
            _lease: lease,
            object,
            token,
            damage: None,
            sleeper: Sleeper::new(own, session, parts.can_issue_barriers),
            wait: Wait::default(),
            pace: Pace::default(),
            reported: 0,
            met: 0,
            boot_id: parts.boot_id,
        }
    }

    /// Whether this process attached the end; `false` in a forked child. One load, no system call.
    #[inline]
    pub(crate) fn is_owner(&self) -> bool {
        self.token.is_owner()
    }

    /// Whether [`Self::check`] lets pass. One load, no system call.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.is_owner()
    }

    /// Refuses to touch the ring in a forked child, and after damage was seen.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.is_usable() {
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    #[cold]
    fn refused(&self) -> Refused {
        if !self.is_owner() {
            return Refused::Forked;
        }
        // Without damage only a missing page makes an owner's end unusable.
        match self.damage.or_else(|| self.loss()) {
            Some(damage) => Refused::Corrupt(damage),
            None => Refused::Forked,
        }
    }

    /// Refuses once a page of the ring was found missing: what was just read or written is then
    /// nothing. Costs nothing without the guard.
    #[inline]
    pub(crate) fn check_intact(&self) -> Result<(), Refused> {
        if self.mapped.is_intact() {
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    /// What became of the file, if it is not what it was.
    #[cold]
    pub(crate) fn loss(&self) -> Option<Corruption> {
        self.object.loss(self.mapped.mapping())
    }

    /// Whether the end may still leave its mark: it is this process's, and the file is whole.
    pub(crate) fn may_close(&self) -> bool {
        self.is_owner() && self.loss().is_none()
    }

    /// Damage was seen: every further call reports it, or the loss of the file that is behind it.
    pub(crate) fn refuse_from_now_on(&mut self, damage: Corruption) -> Corruption {
        let damage = self.loss().unwrap_or(damage);
        self.damage = Some(damage);
        self.usable = ForkToken::nobodys();
        damage
    }

    /// The reason behind a checkpoint that failed, where the file itself is the reason.
    pub(crate) fn explain(&mut self, error: CheckpointError) -> CheckpointError {
        match (error, self.loss()) {
            (CheckpointError::Sync { .. }, Some(loss)) => self.refuse_from_now_on(loss).into(),
            _ => error,
        }
    }

    /// The same for what the kernel was asked to copy to or from the ring.
    pub(crate) fn explain_fault(&mut self, error: io::Error) -> io::Error {
        match (error.raw_os_error(), self.loss()) {
            (Some(libc::EFAULT), Some(loss)) => io::Error::other(self.refuse_from_now_on(loss)),
            _ => error,
        }
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

    /// Sleeps for what the peer's checkpoints make durable, or for what it publishes or releases.
    pub(crate) const fn wait_for_durable(&mut self, wait: bool) {
        self.sleeper.wait_for_durable(wait);
    }

    /// Wakes the peer that sleeps on this end's wake word.
    #[cold]
    pub(crate) fn wake_peer(&self) {
        self.mapped.futex_wake(word::WAKE.of(self.own));
    }

    /// An ending that lies before this end's attach is no news, unless `something_left` says that
    /// its last messages still are. The ending is read first: what is published before it is then
    /// seen.
    pub(crate) fn forget_past_endings(&mut self, something_left: impl FnOnce() -> bool) {
        if let Some((session, _)) = self.ended() {
            if !something_left() {
                self.reported = session;
            }
        }
    }

    /// The peer's session and how it ended, unless it goes on, never began, or was reported.
    fn ended(&self) -> Option<(u64, Ending)> {
        let read = || ring::read_session(&self.mapped, self.own.peer());
        judge_ending(self.reported, read, || self.is_peer_attached())
    }

    /// Whether the peer closed and that was not reported yet: two loads of a quiet line.
    fn sees_close(&self) -> bool {
        let (session, closed) = ring::read_session(&self.mapped, self.own.peer());
        closed && session != self.reported
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
        let before = self
            .is_owner()
            .then(|| ring::read_session(&self.mapped, self.own.peer()).0);
        let held = self.is_peer_attached();
        let Some(before) = before else {
            // Nothing is mapped in a forked child; the kernel alone is asked.
            return if held {
                PeerState::Attached
            } else {
                PeerState::Gone
            };
        };
        let (session, closed) = ring::read_session(&self.mapped, self.own.peer());
        // A session that began between the looks is a successor's, who holds the role.
        let held = held || session != before;
        PeerState::judge(held, session, closed, &self.peer_holder())
    }

    /// What the peer's page says of its holder.
    pub(crate) fn peer_holder(&self) -> Holder {
        if !self.is_owner() {
            return Holder::default();
        }
        peer::read_holder(&self.mapped, self.own.peer())
    }

    /// Whether the peer's last attach happened under this boot, so that a futex reaches it.
    fn shares_kernel(&self) -> bool {
        let boot = peer::read_boot_id(&self.mapped, self.own.peer());
        boot == [0, 0] || boot == self.boot_id
    }

    /// Waits until `ready`, at most until the deadline; tells when the peer ended instead.
    ///
    /// `missing` is asked when nothing has come for a while, for what should be there and is not.
    pub(crate) fn wait(
        &mut self,
        goal: Goal,
        mut ready: impl FnMut() -> bool,
        missing: impl Fn() -> Option<Corruption>,
    ) -> Result<(), Ending> {
        let Goal {
            done,
            wanted,
            deadline,
        } = goal;
        let pauses = self.pace.begin(done.messages, done.position, Instant::now);
        if pauses > 0 && deadline.is_none_or(|deadline| deadline > Instant::now()) {
            pace::look_away(pauses);
        }
        let spin = match self.wait {
            Wait::Spin => wait::RECHECK,
            Wait::SpinThenPark { spin } => spin,
        };
        let spin = spin.min(wait::slice(deadline));
        if wait::spin(spin, &mut ready, || self.sees_close()) {
            return Ok(());
        }
        self.look_around(done.position)?;
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
            self.wait_once(Pause { wanted, limit }, &mut ready)?;
            if ready() {
                return Ok(());
            }
            self.look_around(done.position)?;
            if let Some(damage) = missing() {
                return Err(self.give_up(damage));
            }
        }
    }

    /// Whether the ring is still what it was, as far as that can be told without being ended by a
    /// signal: the size of the file first, then words that only ever grow.
    fn look_around(&mut self, position: u64) -> Result<(), Ending> {
        if let Some(loss) = self.loss() {
            return Err(self.give_up(loss));
        }
        let (own, _) = ring::read_session(&self.mapped, self.own);
        let (peer, _) = ring::read_session(&self.mapped, self.own.peer());
        let wrong = if own == self.session {
            (peer < self.met).then_some((self.met, peer))
        } else {
            Some((self.session, own))
        };
        self.met = peer;
        match wrong {
            None => Ok(()),
            Some((expected, found)) => Err(self.give_up(Corruption {
                what: Damage::Session,
                position,
                expected,
                found,
            })),
        }
    }

    fn give_up(&mut self, damage: Corruption) -> Ending {
        Ending::Refused(Refused::Corrupt(self.refuse_from_now_on(damage)))
    }

    /// One spin, sleep or nap, until something may have changed: a message, room, or a close. A
    /// close wakes whoever sleeps; who is about to must look for it too.
    fn wait_once(&mut self, pause: Pause, mut ready: impl FnMut() -> bool) -> Result<(), Ending> {
        let slept = match self.wait {
            Wait::Spin => {
                wait::spin(pause.limit, ready, || self.sees_close());
                Slept::Stirred
            }
            Wait::SpinThenPark { .. } if self.shares_kernel() => {
                bump(&self.mapped, word::SLEEPS.of(self.own));
                let (own, reported, mapped) = (self.own, self.reported, &self.mapped);
                let changed = || {
                    let (session, closed) = ring::read_session(mapped, own.peer());
                    ready() || (closed && session != reported)
                };
                let kernel = Linux {
                    mapped,
                    object: &self.object,
                };
                wait::park(mapped, &kernel, &mut self.sleeper, pause, changed)
            }
            Wait::SpinThenPark { .. } => {
                wait::nap(pause.limit);
                Slept::Stirred
            }
        };
        if slept == Slept::Nowhere {
            let damage = self.unreadable_wake_word();
            return Err(self.give_up(damage)); // says it if the file is shorter by now
        }
        Ok(())
    }

    /// The kernel did not find the word to sleep on: either because the file is shorter by now, or
    /// because its page can not be read.
    fn unreadable_wake_word(&self) -> Corruption {
        let shape = self.mapped.mapping().shape();
        let bytes = shape.total_bytes();
        let page = match self.own {
            Role::Producer => Page::Consumer,
            Role::Consumer => Page::Producer,
        };
        Corruption {
            what: Damage::PageLost,
            position: shape.page_offset(page),
            expected: bytes,
            found: bytes,
        }
    }
}

/// The peer's session and how it ended; `read` gives its number and whether it is marked closed.
///
/// The mark is read again after `held` said that nobody holds the role: it may have been stored,
/// and the role given up, since the first look. If even a successor has come by then, nothing
/// ended that a waiting side must know of.
fn judge_ending(
    reported: u64,
    mut read: impl FnMut() -> (u64, bool),
    held: impl FnOnce() -> bool,
) -> Option<(u64, Ending)> {
    let (session, closed) = read();
    if session == 0 || session == reported {
        None
    } else if closed {
        Some((session, Ending::Closed))
    } else if held() {
        None
    } else {
        match read() {
            (now, true) if now == session => Some((session, Ending::Closed)),
            (now, false) if now == session => Some((session, Ending::PeerGone)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::{Ending, judge_ending};

    /// Goal: a close is never taken for a death, at whatever moment it comes. Method: each change
    /// that a peer can make, made while the kernel is asked who holds the role.
    #[test]
    fn a_close_is_not_a_death() {
        let judge = |before, held, after| {
            let words = Cell::new(before);
            judge_ending(
                2,
                || words.get(),
                || {
                    words.set(after);
                    held
                },
            )
        };
        let closed = Some((3, Ending::Closed));
        assert_eq!(judge((3, false), false, (3, true)), closed);
        assert_eq!(judge((3, true), false, (3, true)), closed);
        assert_eq!(
            judge((3, false), false, (3, false)),
            Some((3, Ending::PeerGone))
        );
        assert_eq!(
            judge((3, false), true, (3, true)),
            None,
            "the next look sees it"
        );
        assert_eq!(
            judge((3, false), false, (4, false)),
            None,
            "a successor came"
        );
        assert_eq!(judge((2, true), false, (2, true)), None, "said already");
        assert_eq!(
            judge((0, false), false, (0, false)),
            None,
            "nobody ever came"
        );
    }
}
