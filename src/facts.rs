//! What both ends tell of their ring.

use crate::consumer::Consumer;
use crate::peer::{Holder, PeerState};
use crate::producer::Producer;
use crate::region::Backing;
use crate::totals::Totals;
use crate::trusted::Trust;
use crate::wait::Wait;

impl<T: Trust> Producer<T> {
    /// Chooses how blocking calls of this end wait. The default is [`Wait::default`].
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// tx.set_wait(ringduct::Wait::Spin);
    /// assert_eq!(tx.send(b"x"), Ok(()));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn set_wait(&mut self, wait: Wait) {
        self.end.link.set_wait(wait);
    }

    /// Position, messages and bytes published since the ring was made, by this producer and by all
    /// before it.
    ///
    /// A successor knows from the number of messages where to continue.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// let totals = tx.totals();
    /// assert_eq!((totals.messages, totals.bytes, totals.position), (1, 3, 16));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn totals(&self) -> Totals {
        Totals::of(self.end.core.published())
    }

    /// Bytes that wait for the consumer, 8 for each message and padding included: between 0 and the
    /// capacity. The consumer may have taken some of them meanwhile. 0 in a forked child.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// assert_eq!(tx.backlog_bytes(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backlog_bytes(&self) -> u64 {
        if self.end.link.is_owner() {
            self.end.core.backlog_bytes()
        } else {
            0
        }
    }

    /// Bytes of the data area: a power of two.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.capacity_bytes(), 4096);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn capacity_bytes(&self) -> u64 {
        self.end.core.geometry().capacity_bytes
    }

    /// Bytes of the longest message this ring takes.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.max_message_bytes(), 4080);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn max_message_bytes(&self) -> u64 {
        self.end.core.geometry().max_message_bytes
    }

    /// What is known of the consumer. Costs system calls: not for the hot path.
    ///
    /// ```
    /// use ringduct::PeerState;
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.peer_state(), PeerState::Attached);
    /// drop(rx);
    /// assert_eq!(tx.peer_state(), PeerState::Closed);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn peer_state(&self) -> PeerState {
        self.end.link.peer_state()
    }

    /// What the last consumer's page says of its process: hints, not verified.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.peer_holder().pid, std::process::id());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn peer_holder(&self) -> Holder {
        self.end.link.peer_holder()
    }

    /// The name the ring was opened by.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.name(), "anonymous");
    /// assert_eq!(rx.name(), tx.name());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn name(&self) -> &str {
        self.end.link.object().name()
    }

    /// What the ring is made of.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.backing(), ringduct::Backing::Anonymous);
    /// assert_eq!(rx.backing(), tx.backing());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn backing(&self) -> Backing {
        self.end.link.object().backing()
    }
}

impl<T: Trust> Consumer<T> {
    /// Chooses how blocking calls of this end wait. The default is [`Wait::default`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// rx.set_wait(ringduct::Wait::Spin);
    /// tx.send(b"x")?;
    /// assert_eq!(rx.recv(&mut [0; 8]), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn set_wait(&mut self, wait: Wait) {
        self.end.link.set_wait(wait);
    }

    /// Position, messages and bytes released since the ring was made, by this consumer and by all
    /// before it.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// rx.skip(1)?;
    /// assert_eq!((rx.totals().messages, rx.totals().bytes), (1, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn totals(&self) -> Totals {
        Totals::of(self.end.core.released())
    }

    /// Bytes that wait in the ring, 8 for each message and padding included: between 0 and the
    /// capacity. The producer may be one publish further. 0 in a forked child.
    ///
    /// ```
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// assert_eq!(rx.backlog_bytes(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backlog_bytes(&self) -> u64 {
        if self.end.link.is_owner() {
            self.end.core.backlog_bytes()
        } else {
            0
        }
    }

    /// Bytes of the data area: a power of two.
    ///
    /// ```
    /// let (_tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(rx.capacity_bytes(), 4096);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn capacity_bytes(&self) -> u64 {
        self.end.core.geometry().capacity_bytes
    }

    /// Bytes of the longest message this ring takes: no buffer need be longer.
    ///
    /// ```
    /// let (_tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(rx.max_message_bytes(), 4080);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn max_message_bytes(&self) -> u64 {
        self.end.core.geometry().max_message_bytes
    }

    /// What is known of the producer. Costs system calls: not for the hot path.
    ///
    /// ```
    /// use ringduct::PeerState;
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(rx.peer_state(), PeerState::Attached);
    /// drop(tx);
    /// assert_eq!(rx.peer_state(), PeerState::Closed);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn peer_state(&self) -> PeerState {
        self.end.link.peer_state()
    }

    /// What the last producer's page says of its process: hints, not verified.
    ///
    /// ```
    /// let (_tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(rx.peer_holder().pid, std::process::id());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn peer_holder(&self) -> Holder {
        self.end.link.peer_holder()
    }

    /// The name the ring was opened by.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.name(), "anonymous");
    /// assert_eq!(rx.name(), tx.name());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn name(&self) -> &str {
        self.end.link.object().name()
    }

    /// What the ring is made of.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.backing(), ringduct::Backing::Anonymous);
    /// assert_eq!(rx.backing(), tx.backing());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn backing(&self) -> Backing {
        self.end.link.object().backing()
    }
}
