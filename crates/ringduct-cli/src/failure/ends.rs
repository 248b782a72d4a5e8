//! What an end of a ring answers, in the words of the tool.

use ringduct::{CheckpointError, Corruption, RecvError, SendError, TryRecvError, TrySendError};

use super::{Code, Failure, LOOK_AT_IT};
use crate::place::Place;

impl Failure {
    /// A receive did not bring a message.
    pub(crate) fn recv(place: &Place, error: RecvError) -> Self {
        match error {
            RecvError::TimedOut => Self::new(
                Code::TimedOut,
                format!("{place}: timed out: no message came"),
            )
            .next("start the producer (`ringduct send`), or wait longer with --timeout"),
            RecvError::PeerGone => Self::new(
                Code::PeerGone,
                format!(
                    "{place}: the producer vanished without closing; all it had sent was taken"
                ),
            )
            .next("start it again; `recv --follow` waits for it"),
            RecvError::Corrupt(corruption) => Self::corrupt(place, corruption),
            error => Self::new(Code::Other, format!("{place}: {error}")),
        }
    }

    /// A send put nothing into the ring.
    pub(crate) fn send(place: &Place, error: SendError) -> Self {
        match error {
            SendError::TimedOut => Self::new(
                Code::TimedOut,
                format!("{place}: timed out: the ring is full and nothing was taken"),
            )
            .next("start the consumer (`ringduct recv`), or wait longer with --timeout"),
            SendError::WaitingForCheckpoint => Self::new(
                Code::TimedOut,
                format!(
                    "{place}: timed out: the ring is full; its consumer has taken enough, and no \
                     checkpoint of its covers that"
                ),
            )
            .next("let the consumer make checkpoints (`ringduct recv --checkpoint`)"),
            SendError::Closed => Self::new(
                Code::Other,
                format!("{place}: the ring is full and its consumer has closed"),
            )
            .next("start another one (`ringduct recv`); `send --follow` waits for it"),
            SendError::PeerGone => Self::new(
                Code::PeerGone,
                format!("{place}: the ring is full and its consumer vanished without closing"),
            )
            .next(
                "start it again (`ringduct recv`): it goes on where it was; `send --follow` waits \
                 for it",
            ),
            SendError::TooLong {
                message_bytes,
                max_bytes,
            } => Self::new(
                Code::Other,
                format!(
                    "{place}: a message of {message_bytes} bytes, and the ring takes {max_bytes}"
                ),
            )
            .next("split it, send with --framing raw, or make a ring with more --capacity"),
            SendError::Poisoned => Self::poisoned(place),
            SendError::Corrupt(corruption) => Self::corrupt(place, corruption),
            error => Self::new(Code::Other, format!("{place}: {error}")),
        }
    }

    /// The same for a send that does not wait; whoever waits for room does not come here.
    pub(crate) fn try_send(place: &Place, error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::send(place, SendError::TimedOut),
            TrySendError::WaitingForCheckpoint => {
                Self::send(place, SendError::WaitingForCheckpoint)
            }
            TrySendError::Poisoned => Self::poisoned(place),
            TrySendError::TooLong {
                message_bytes,
                max_bytes,
            } => Self::send(
                place,
                SendError::TooLong {
                    message_bytes,
                    max_bytes,
                },
            ),
            TrySendError::Corrupt(corruption) => Self::corrupt(place, corruption),
            error => Self::new(Code::Other, format!("{place}: {error}")),
        }
    }

    /// The same for a receive that does not wait.
    pub(crate) fn try_recv(place: &Place, error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::recv(place, RecvError::TimedOut),
            TryRecvError::Closed => Self::recv(place, RecvError::Closed),
            TryRecvError::Corrupt(corruption) => Self::corrupt(place, corruption),
            error => Self::new(Code::Other, format!("{place}: {error}")),
        }
    }

    /// There is no checkpoint.
    pub(crate) fn checkpoint(place: &Place, error: CheckpointError) -> Self {
        match error {
            CheckpointError::NotDurable { why } => Self::new(
                Code::Other,
                format!("{place}: nothing outlives a power cut here: this is {why}"),
            )
            .next(
                "make it with `ringduct create --durable`, in a file on ext4, xfs, btrfs or f2fs",
            ),
            CheckpointError::Sync { errno } => Self::new(
                Code::Other,
                format!(
                    "{place}: a sync failed ({}): what was sent since the last checkpoint may be \
                     lost in a power cut, and no later sync could tell",
                    std::io::Error::from_raw_os_error(errno)
                ),
            )
            .next("look at the disk; copy what the ring holds with `ringduct salvage`"),
            CheckpointError::Poisoned => Self::poisoned(place),
            CheckpointError::Corrupt(corruption) => Self::corrupt(place, corruption),
            error => Self::new(Code::Other, format!("{place}: {error}")),
        }
    }

    /// A sync has failed before.
    fn poisoned(place: &Place) -> Self {
        Self::new(
            Code::Other,
            format!("{place}: a sync of this ring has failed: nothing more can be made durable"),
        )
        .next("copy what it holds with `ringduct salvage`")
    }

    /// A record or a position is damaged.
    fn corrupt(place: &Place, corruption: Corruption) -> Self {
        Self::new(Code::Damaged, format!("{place}: {corruption}")).next(LOOK_AT_IT)
    }
}
