//! Going to sleep and being woken: words only, no system call.
//!
//! The sleeper says that it sleeps, issues the barrier, looks once more, sleeps. The waker changes
//! what the sleeper looks at (a commit word, or the head), keeps that store in front of its next
//! load, and looks for a ticket. With the barrier between the sleeper's ticket and its last look,
//! one of the two always sees the other:
//!
//! ```text
//! waker                                     sleeper
//! W1 store what is waited for               S1 load wake -> seen
//! W2 fence "park": compiler only            S2 store ticket             (release, "ticket")
//! W3 load ticket       (acquire, "ticket")  S3 membarrier               (fence "park")
//! W4 if new: store wake + 1 (rel., "wake")  S4 look once more; ready: done
//! W5         futex wake                     S5 futex wait while wake == seen
//! ```
//!
//! - The barrier S3 makes every running registered thread pass a full barrier. A waker that passes
//!   it between W1 and W3 has W1 visible before S4 looks; one that passes it before W1 loads the
//!   ticket after S2. Either S4 finds the thing, or W3 finds the ticket. A waker that is not running
//!   passed a barrier when it was switched out.
//! - If W3 finds the ticket, W4 changes the word after S1 read it (S1 happens before S2, S2 before
//!   W3 by "ticket"), so S5 cannot fall asleep on the old value: no wake is lost between S4 and S5.
//! - One wake per ticket: the waker remembers the ticket it answered. Tickets never repeat: they
//!   carry the sleeper's session in their upper half.
//! - A waker that could not register for barriers fences at W2 instead, and says so in its page. The
//!   sleeper issues the barrier whatever it read there, because a successor may have another mode.
//! - A sleeper that may not issue the barrier sets [`ASKS_FENCE`] in its ticket and sleeps in short
//!   slices until the waker, which sees that ticket late but sees it, has written `FENCE` in its
//!   page. The waker fences in every later publish, so from then on S3 may be a plain fence.
//! - A killed waker wakes nobody: a sleeper looks again after a bounded time in any case.

use super::order::{
    MODE_LOAD, MODE_STORE, PARK_FULL, PARK_LIGHT, TICKET_LOAD, TICKET_STORE, WAKE_LOAD, WAKE_STORE,
};
use crate::layout::{Role, word};
use crate::memory::{Memory, Order};
use crate::position;

/// In a ticket: the sleeper cannot issue barriers and asks the waker to fence.
pub(crate) const ASKS_FENCE: u64 = 1 << 63;

/// In a ticket: the sleeper waits for what a checkpoint makes durable, and only who makes the
/// checkpoints answers it.
const FOR_DURABLE: u64 = 1 << 62;

/// Low half of a wake word: what the kernel compares.
pub(crate) const fn futex_value(word: u64) -> u32 {
    let [low, _] = crate::layout::halves(word);
    low
}

/// The waking half of an end.
#[derive(Debug)]
pub(crate) struct Waker {
    own: Role,
    answered: u64,
    fences: bool,
    /// Whether this one answers for checkpoints, rather than for what is published or released.
    for_durable: bool,
}

impl Waker {
    /// A waker that fences for itself when it could not register for barriers.
    pub(crate) const fn new(own: Role, fences: bool) -> Self {
        Self {
            own,
            answered: 0,
            fences,
            for_durable: false,
        }
    }

    /// A waker for checkpoints. Its stores are rare, so each carries a fence of its own.
    pub(crate) const fn for_checkpoints(own: Role) -> Self {
        Self {
            own,
            answered: 0,
            fences: true,
            for_durable: true,
        }
    }

    /// Whether publishes of this side carry fences.
    pub(crate) const fn fences(&self) -> bool {
        self.fences
    }

    /// Steps W2 and W3, after a store that the peer may wait for: its ticket, zero when it is
    /// awake. Otherwise [`Self::answer`] must follow.
    #[inline]
    pub(crate) fn ticket(&self, memory: &impl Memory) -> u64 {
        memory.fence(if self.fences { PARK_FULL } else { PARK_LIGHT });
        peer_ticket(memory, self.own.peer())
    }

    /// Step W4, if this ticket is new and `reached` is what it waits for. `true`: the futex must
    /// be woken.
    #[cold]
    pub(crate) fn answer(&mut self, memory: &impl Memory, ticket: u64, reached: u64) -> bool {
        if ticket & ASKS_FENCE != 0 && !self.fences {
            self.fences = true;
            memory.store(
                word::FENCE_MODE.of(self.own),
                word::fence_mode::FENCE,
                MODE_STORE,
            );
        }
        let for_durable = ticket & FOR_DURABLE != 0;
        if ticket == self.answered || for_durable != self.for_durable {
            return false;
        }
        let wanted = memory.load(word::WANTED.of(self.own.peer()), Order::RELAXED);
        if !position::at_or_after(reached, wanted) {
            return false;
        }
        self.answered = ticket;
        self.change_wake_word(memory);
        true
    }

    /// Steps W2 to W4, after a checkpoint. `true`: the futex must be woken.
    pub(crate) fn tell(&mut self, memory: &impl Memory, reached: u64) -> bool {
        memory.fence(PARK_FULL);
        let ticket = peer_ticket(memory, self.own.peer());
        ticket != 0 && self.answer(memory, ticket, reached)
    }

    /// Steps W2 to W4 for a side that leaves: whoever sleeps is woken, whatever it waits for.
    pub(crate) fn rouse(&mut self, memory: &impl Memory) -> bool {
        memory.fence(if self.fences { PARK_FULL } else { PARK_LIGHT });
        let sleeps = memory.load(word::PARKED.of(self.own.peer()), TICKET_LOAD) != 0;
        if sleeps {
            self.change_wake_word(memory);
        }
        sleeps
    }

    fn change_wake_word(&self, memory: &impl Memory) {
        // Both may be changed by the thread that makes this end's checkpoints, too.
        memory.increment(word::WAKES_SENT.of(self.own), Order::RELAXED);
        memory.increment(word::WAKE.of(self.own), WAKE_STORE);
    }
}

/// Whether this role sleeps until a checkpoint of the other one.
pub(crate) fn sleeps_for_durable(memory: &impl Memory, sleeper: Role) -> bool {
    memory.load(word::PARKED.of(sleeper), TICKET_LOAD) & FOR_DURABLE != 0
}

/// Adds one to a counter that only this side writes.
pub(crate) fn bump(memory: &impl Memory, counter: crate::layout::Word) {
    let count = memory.load(counter, Order::RELAXED);
    memory.store(counter, count.wrapping_add(1), Order::RELAXED);
}

/// Steps W2 and W3 of a waker that does not fence, on the hot path.
#[inline(always)]
#[expect(clippy::inline_always, reason = "two instructions")]
pub(crate) fn ticket_without_fence(memory: &impl Memory, sleeper: Role) -> u64 {
    memory.fence(PARK_LIGHT);
    peer_ticket(memory, sleeper)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "one instruction")]
fn peer_ticket(memory: &impl Memory, sleeper: Role) -> u64 {
    memory.load(word::PARKED.of(sleeper), TICKET_LOAD)
}

/// The sleeping half of an end.
#[derive(Debug)]
pub(crate) struct Sleeper {
    own: Role,
    ticket: u64,
    asks_fence: bool,
    /// [`FOR_DURABLE`], or nothing.
    flag: u64,
}

impl Sleeper {
    /// A sleeper whose tickets no earlier session of this role has used.
    pub(crate) const fn new(own: Role, session: u64, can_issue_barriers: bool) -> Self {
        Self {
            own,
            ticket: (session << 32) & !(ASKS_FENCE | FOR_DURABLE),
            asks_fence: !can_issue_barriers,
            flag: 0,
        }
    }

    /// Whether it waits for what a checkpoint makes durable.
    pub(crate) const fn wait_for_durable(&mut self, wait: bool) {
        self.flag = if wait { FOR_DURABLE } else { 0 };
    }

    /// The word it sleeps on: the peer's wake word.
    pub(crate) const fn sleeps_on(&self) -> crate::layout::Word {
        word::WAKE.of(self.own.peer())
    }

    /// Steps S1 and S2: from here on the peer wakes this side once it has reached `wanted`.
    /// Returns the value to sleep on.
    pub(crate) fn announce(&mut self, memory: &impl Memory, wanted: u64) -> u32 {
        let seen = futex_value(memory.load(self.sleeps_on(), WAKE_LOAD));
        memory.store(word::WANTED.of(self.own), wanted, Order::RELAXED);
        self.ticket = self.ticket.wrapping_add(1);
        self.show_ticket(memory);
        seen
    }

    /// The barrier was refused: ask the peer for fences, and fence here.
    pub(crate) fn ask_for_fences(&mut self, memory: &impl Memory) {
        self.asks_fence = true;
        self.show_ticket(memory);
        memory.fence(PARK_FULL);
    }

    /// Whether a sleep may be long: barriers work, or the peer has said that it fences. To be
    /// called before the last look, so that the look sees what was published before the peer's
    /// word.
    pub(crate) fn is_covered(&self, memory: &impl Memory) -> bool {
        let mode = word::FENCE_MODE.of(self.own.peer());
        !self.asks_fence || memory.load(mode, MODE_LOAD) == word::fence_mode::FENCE
    }

    /// The sleeper is awake again.
    pub(crate) fn retract(&self, memory: &impl Memory) {
        memory.store(word::PARKED.of(self.own), 0, Order::RELAXED);
    }

    fn show_ticket(&self, memory: &impl Memory) {
        let flag = if self.asks_fence { ASKS_FENCE } else { 0 };
        let ticket = self.ticket | flag | self.flag;
        memory.store(word::PARKED.of(self.own), ticket, TICKET_STORE);
    }
}
