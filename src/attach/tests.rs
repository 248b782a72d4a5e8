//! Attaching and ending, where two steps of one side meet a step of the other.

use std::fs;
use std::time::Duration;

use super::*;
use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::testing::{alone, in_child};
use crate::wait::Wait;
use crate::{Location, PeerState, pair};

fn ring() -> Ring {
    Options::new()
        .capacity_bytes(4096)
        .create_anonymous()
        .unwrap()
}

/// Goal: an attach forgets only an ending that it read before it looked for messages. Method:
/// between the two looks a second producer comes, sends and closes; what the consumer forgets then
/// is the first one's ending.
#[test]
fn an_ending_after_the_first_look_is_reported() {
    let _alone = alone();
    let ring = ring();
    drop(ring.producer().unwrap());
    let mut rx = ring.consumer().unwrap();
    rx.end.link.report(0); // as if it came only now
    rx.end.link.forget_past_endings(|| {
        let mut second = ring.producer().unwrap();
        second.send(b"last").unwrap();
        false // what a look just before would have said
    });
    assert_eq!(rx.recv(&mut [0; 8]), Ok(4));
    assert_eq!(rx.recv(&mut [0; 8]), Err(RecvError::Closed));
}

/// Goal: an ending from before the attach is news only with messages left. Method: close an empty
/// and a filled ring, attach, and wait for no time.
#[test]
fn a_past_ending_is_news_only_with_messages_left() {
    let _alone = alone();
    for messages in [0, 1] {
        let ring = ring();
        let mut tx = ring.producer().unwrap();
        for _ in 0..messages {
            tx.send(b"x").unwrap();
        }
        drop(tx);
        let mut rx = ring.consumer().unwrap();
        for _ in 0..messages {
            assert_eq!(rx.recv(&mut [0; 8]), Ok(1));
        }
        let after = rx.recv_timeout(&mut [0; 8], Duration::ZERO);
        let news = if messages == 0 {
            RecvError::TimedOut
        } else {
            RecvError::Closed
        };
        assert_eq!(after, Err(news));
        let later = rx.recv_timeout(&mut [0; 8], Duration::ZERO);
        assert_eq!(later, Err(RecvError::TimedOut), "said once");
    }
}

/// Goal: looking at what is there does not use up the report of a close.
#[test]
fn an_iterator_leaves_the_close_to_be_said() {
    let _alone = alone();
    let (tx, mut rx) = pair(4096).unwrap();
    drop(tx);
    assert_eq!(rx.try_messages().count(), 0);
    assert_eq!(rx.try_recv(&mut [0; 8]), Err(TryRecvError::Closed));
    assert_eq!(rx.try_recv(&mut [0; 8]), Err(TryRecvError::Empty));
}

/// Goal: in spin mode too a close ends the wait, in both directions.
#[test]
fn a_spinner_sees_a_close() {
    let _alone = alone();
    let (mut tx, mut rx) = pair(4096).unwrap();
    rx.set_wait(Wait::Spin);
    drop(tx);
    assert_eq!(rx.recv(&mut [0; 8]), Err(RecvError::Closed));
    (tx, rx) = pair(4096).unwrap();
    tx.set_wait(Wait::Spin);
    tx.send(&[0; 4000]).unwrap();
    drop(rx);
    assert_eq!(tx.send(&[0; 4000]), Err(SendError::Closed));
}

/// Goal: a holder that has closed is waited for, one that has not is named. Method: the lock of a
/// role is held on, once with the mark of a close in its page and once without.
#[test]
fn who_is_leaving_is_waited_for() {
    let _alone = alone();
    let ring = ring();
    drop(ring.producer().unwrap());
    let held = Lease::try_take(&ring.object, Role::Producer.lock_byte())
        .unwrap()
        .unwrap();
    let hasty = Ring {
        attach_timeout: Duration::ZERO,
        ..ring.clone()
    };
    assert!(matches!(hasty.producer(), Err(OpenError::RoleTaken { .. })));
    let leaver = std::thread::spawn(move || drop(held));
    assert!(ring.producer().is_ok(), "waited until it had left");
    leaver.join().unwrap();
    let _stays = ring.producer().unwrap();
    assert!(matches!(ring.producer(), Err(OpenError::RoleTaken { .. })));
}

/// Goal: nobody attaches to a ring whose name is gone, since the peer would find another one.
#[test]
fn a_removed_ring_is_not_attached_to() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone.ring");
    let ring = Options::new()
        .create(&Location::from(path.as_path()))
        .unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(ring.producer(), Err(OpenError::NotFound { .. })));
    assert!(matches!(ring.consumer(), Err(OpenError::NotFound { .. })));
}

/// Goal: an observer never takes leftovers of earlier laps for messages. Method: fill and drain a
/// ring so that old records lie everywhere, and look at every position beyond the tail.
#[test]
fn an_observer_sees_nothing_beyond_the_tail() {
    let _alone = alone();
    let ring = ring();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..1000 {
        tx.send(b"12345678").unwrap();
        rx.skip(1).unwrap();
    }
    let tail = tx.totals().position;
    let observer = ring.observer().unwrap();
    for step in 0..512 {
        assert_eq!(
            observer.peek(tail + 8 * step),
            Ok(None),
            "{step} words beyond"
        );
    }
}

/// Goal: whatever was begun before a fork is inert in the child, and does not disturb the parent.
/// Method: begin a batch, a claim and a view, fork, finish each in the child, and go on.
#[test]
fn what_was_begun_before_a_fork_is_inert() {
    let _alone = alone();
    let (mut tx, mut rx) = pair(4096).unwrap();
    tx.send(b"first").unwrap();

    let mut batch = tx.batch().unwrap();
    batch.push(b"second").unwrap();
    let status = in_child(|| {
        let refused = batch.push(b"child") == Err(TrySendError::Forked);
        batch.commit();
        i32::from(!refused)
    });
    assert_eq!(status, 0);

    let mut claim = tx.try_claim(6).unwrap();
    let status = in_child(|| {
        let refused = claim.write_at(0, b"child") == Err(TrySendError::Forked);
        claim.commit();
        i32::from(!refused)
    });
    assert_eq!(status, 0);

    let view = rx.try_view().unwrap();
    assert_eq!(
        in_child(|| {
            drop(view);
            0
        }),
        0
    );

    let known = in_child(|| {
        let state =
            tx.peer_state() == PeerState::Attached && rx.peer_state() == PeerState::Attached;
        i32::from(!(state && tx.peer_holder() == crate::Holder::default()))
    });
    assert_eq!(known, 0);
    assert_eq!(tx.totals().messages, 1, "the child published nothing");
}

/// Goal: an observer may be used in a forked child.
#[test]
fn an_observer_survives_a_fork() {
    let _alone = alone();
    let ring = ring();
    let mut tx = ring.producer().unwrap();
    tx.send(b"seen").unwrap();
    let observer = ring.observer().unwrap();
    let seen = in_child(|| {
        let found = observer.peek_all().unwrap_or_default();
        i32::from(!(observer.snapshot().backlog_messages == 1 && found.len() == 1))
    });
    assert_eq!(seen, 0);
}
