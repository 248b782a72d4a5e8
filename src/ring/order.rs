//! The label of every ordered access. The table in the module above says what each one carries.

use crate::memory::{Fence, FenceKind, Order};

/// The producer's store that makes a record, or a whole batch, visible.
pub(crate) const COMMIT_STORE: Order = Order::release("commit");
/// The consumer's look at the next record.
pub(crate) const COMMIT_LOAD: Order = Order::acquire("commit");

/// The consumer's store that gives space back.
pub(crate) const HEAD_STORE: Order = Order::release("head");
/// The producer's look for space.
pub(crate) const HEAD_LOAD: Order = Order::acquire("head");

/// The producer's store of its position, after the records in front of it.
pub(crate) const TAIL_STORE: Order = Order::release("tail");
/// An observer's or a successor's look at it.
pub(crate) const TAIL_LOAD: Order = Order::acquire("tail");

/// A side's store of the position of its account, after the counters that belong to it.
pub(crate) const ACCOUNT_STORE: Order = Order::release("account");
/// An observer's or a successor's look at it.
pub(crate) const ACCOUNT_LOAD: Order = Order::acquire("account");

/// A sleeper says that it is about to sleep.
pub(crate) const TICKET_STORE: Order = Order::release("ticket");
/// The other side sees it.
pub(crate) const TICKET_LOAD: Order = Order::acquire("ticket");

/// The waker changes the word that the sleeper sleeps on.
pub(crate) const WAKE_STORE: Order = Order::release("wake");
/// The sleeper notes it before it takes its ticket.
pub(crate) const WAKE_LOAD: Order = Order::acquire("wake");

/// A publisher that cannot take part in barriers says that it fences from now on.
pub(crate) const MODE_STORE: Order = Order::release("mode");
/// A sleeper that cannot issue barriers looks for that.
pub(crate) const MODE_LOAD: Order = Order::acquire("mode");

/// A side leaves: everything it published is visible to whoever sees the mark.
pub(crate) const CLOSED_STORE: Order = Order::release("closed");
/// The other side looks for the mark.
pub(crate) const CLOSED_LOAD: Order = Order::acquire("closed");

/// A side arrives: the rest of its page is written before its session number.
pub(crate) const SESSION_STORE: Order = Order::release("session");
/// The other side looks who is there.
pub(crate) const SESSION_LOAD: Order = Order::acquire("session");

/// The consumer's checkpoint is on the medium: what lies before it may be overwritten.
pub(crate) const DURABLE_STORE: Order = Order::release("durable");
/// The producer's look for space in a durable ring.
pub(crate) const DURABLE_LOAD: Order = Order::acquire("durable");

/// Between a publish (or release) and the look at the peer's ticket; partner: the sleeper's
/// `membarrier` between its ticket and its last look.
pub(crate) const PARK_LIGHT: Fence = Fence {
    label: "park",
    kind: FenceKind::Light,
};
/// The same, paid by the publisher, when one of the two may not use `membarrier`.
pub(crate) const PARK_FULL: Fence = Fence {
    label: "park",
    kind: FenceKind::Full,
};

/// A side that settled its account, before it writes data beyond the account's reach, or over the
/// slot that counted before.
pub(crate) const ACCOUNT_RELEASE: Fence = Fence {
    label: "account",
    kind: FenceKind::Release,
};
/// Who counted from an account, before it looks whether that is still the newest.
pub(crate) const ACCOUNT_ACQUIRE: Fence = Fence {
    label: "account",
    kind: FenceKind::Acquire,
};

/// The producer, after it has seen that the consumer moved on and before it writes there.
pub(crate) const LAP_RELEASE: Fence = Fence {
    label: "lap",
    kind: FenceKind::Release,
};
/// An observer, after its copy and before it looks whether the consumer moved past it.
pub(crate) const LAP_ACQUIRE: Fence = Fence {
    label: "lap",
    kind: FenceKind::Acquire,
};
