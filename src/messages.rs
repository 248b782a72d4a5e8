//! Iterators over messages, each in a `Vec` of its own.

use core::borrow::BorrowMut;
use core::iter::FusedIterator;

use crate::consumer::Consumer;
use crate::error::{RecvError, TryRecvError};
use crate::trusted::{Trust, Untrusted};

/// Messages as they come, until the producer closes: see [`Consumer::messages`].
///
/// `C` is the consumer, borrowed or owned. For the hot path use [`Consumer::recv`] or
/// [`Consumer::drain`], which allocate nothing.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Messages<C> {
    consumer: C,
    ended: bool,
}

impl<C> Messages<C> {
    pub(crate) const fn new(consumer: C) -> Self {
        Self {
            consumer,
            ended: false,
        }
    }

    fn next_of<T: Trust>(&mut self) -> Option<Result<Vec<u8>, RecvError>>
    where
        C: BorrowMut<Consumer<T>>,
    {
        if self.ended {
            return None;
        }
        let mut message = Vec::new();
        match self.consumer.borrow_mut().recv_vec(&mut message, None) {
            Ok(()) => Some(Ok(message)),
            Err(RecvError::Closed) => {
                self.ended = true;
                None
            }
            Err(error) => {
                // A dead producer may have a successor; damage and a fork are final.
                self.ended = error != RecvError::PeerGone;
                Some(Err(error))
            }
        }
    }
}

impl<T: Trust> Iterator for Messages<&mut Consumer<T>> {
    type Item = Result<Vec<u8>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of::<T>()
    }
}

impl<T: Trust> Iterator for Messages<Consumer<T>> {
    type Item = Result<Vec<u8>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of::<T>()
    }
}

impl<T: Trust> FusedIterator for Messages<&mut Consumer<T>> {}
impl<T: Trust> FusedIterator for Messages<Consumer<T>> {}

impl<T: Trust> IntoIterator for Consumer<T> {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = Messages<Self>;

    fn into_iter(self) -> Messages<Self> {
        Messages::new(self)
    }
}

#[expect(
    clippy::into_iter_without_iter,
    reason = "messages() is the name people look for"
)]
impl<'a, T: Trust> IntoIterator for &'a mut Consumer<T> {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = Messages<&'a mut Consumer<T>>;

    fn into_iter(self) -> Self::IntoIter {
        Messages::new(self)
    }
}

/// The messages that are there now: see [`Consumer::try_messages`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct TryMessages<'a, T: Trust = Untrusted> {
    consumer: &'a mut Consumer<T>,
    ended: bool,
}

impl<'a, T: Trust> TryMessages<'a, T> {
    pub(crate) const fn new(consumer: &'a mut Consumer<T>) -> Self {
        Self {
            consumer,
            ended: false,
        }
    }
}

impl<T: Trust> Iterator for TryMessages<'_, T> {
    type Item = Result<Vec<u8>, TryRecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut message = Vec::new();
        // Asked first, so that "closed" stays to be said by the next receive.
        match self.consumer.try_has_message() {
            Ok(true) => {}
            Ok(false) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        }
        match self.consumer.try_recv_vec(&mut message) {
            Ok(()) => Some(Ok(message)),
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

impl<T: Trust> FusedIterator for TryMessages<'_, T> {}
