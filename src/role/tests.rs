//! Tests of leases: who holds what, and who still holds it after forks, kills and closes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::*;
use crate::layout::Role;
use crate::options::Options;
use crate::region::{self, Fill, kernel_page_bytes};
use crate::testing::{alone, fork_child, in_child, wait_for};

const PRODUCER: i64 = 0;
const CONSUMER: i64 = 1;

#[expect(
    clippy::unnecessary_wraps,
    reason = "has the type of what fills a ring"
)]
fn nothing(_: &Arc<region::Mapping>, _: region::Origin) -> Result<(), OpenError> {
    Ok(())
}

fn anonymous() -> Object {
    let page = kernel_page_bytes();
    let plan = Options::new()
        .capacity_bytes(page)
        .plan(page, page)
        .unwrap();
    let fill: Fill<'_> = &mut nothing;
    region::anonymous(&plan, fill).unwrap()
}

fn take(object: &Object, byte: i64) -> Option<Lease> {
    Lease::try_take(object, byte).unwrap()
}

fn held(object: &Object, byte: i64) -> bool {
    is_held(object.lock_fd(), byte).unwrap()
}

/// Goal: a lease excludes a second one on the same byte, in this process and in another, and
/// nothing else; dropping it frees the byte.
#[test]
fn a_lease_excludes_another() {
    let _alone = alone();
    assert_eq!(Role::Producer.lock_byte(), PRODUCER);
    assert_eq!(Role::Consumer.lock_byte(), CONSUMER);
    let object = anonymous();
    assert!(!held(&object, PRODUCER));
    let lease = take(&object, PRODUCER).unwrap();
    assert!(lease.is_ours());
    assert!(held(&object, PRODUCER));
    assert!(!held(&object, CONSUMER));
    assert!(take(&object, PRODUCER).is_none());
    let code = in_child(|| i32::from(take(&object, PRODUCER).is_some()));
    assert_eq!(code, 0);
    let other = take(&object, CONSUMER).unwrap();
    drop(lease);
    assert!(!held(&object, PRODUCER));
    assert!(held(&object, CONSUMER));
    drop(take(&object, PRODUCER).unwrap());
    drop(other);
    assert!(!held(&object, CONSUMER));
}

/// Goal: closing other descriptors of the file does not lose the lock, nor does dropping the
/// object it was taken through.
#[test]
fn a_lease_outlives_descriptors() {
    let _alone = alone();
    let object = anonymous();
    let probe = object.fresh_description(true).unwrap();
    let lease = take(&object, PRODUCER).unwrap();
    drop(object.own_description().unwrap());
    drop(object);
    assert!(is_held(probe.as_fd(), PRODUCER).unwrap());
    drop(lease);
    assert!(!is_held(probe.as_fd(), PRODUCER).unwrap());
}

/// Goal: a forked child neither holds nor releases the lease of its parent.
#[test]
fn a_child_neither_holds_nor_releases() {
    let _alone = alone();
    let object = anonymous();
    let mut lease = take(&object, PRODUCER);
    let code = in_child(|| {
        let inert = lease.as_ref().is_some_and(|lease| !lease.is_ours());
        drop(lease.take());
        i32::from(inert) | i32::from(held(&object, PRODUCER)) << 1
    });
    assert_eq!(code, 0b11);
    assert!(held(&object, PRODUCER));
    drop(lease);
    assert!(!held(&object, PRODUCER));
}

/// What an owner does before it is killed.
#[derive(Clone, Copy, PartialEq)]
enum Holding {
    Lease,
    Descriptor,
}

/// Lets a child take the lock, fork a child of its own, and be killed. Says whether the lock is
/// still held while the grandchild lives.
fn held_after_kill(object: &Object, holding: Holding) -> bool {
    let (mut reader, mut writer) = UnixStream::pair().unwrap();
    let (stay_reader, mut stay_writer) = UnixStream::pair().unwrap();
    let owner = fork_child(|| {
        let mut lease = None;
        let mut descriptor: Option<OwnDescription> = None;
        match holding {
            Holding::Lease => lease = Lease::try_take(object, PRODUCER).ok().flatten(),
            Holding::Descriptor => {
                let own = object.own_description().ok();
                descriptor = own.filter(|own| set_lock(own.as_fd(), PRODUCER).unwrap_or(false));
            }
        }
        let ready = u8::from(lease.is_some() || descriptor.is_some());
        let _heir = fork_child(|| {
            let _sent = writer.write_all(&[ready]);
            wait_for_a_byte(&stay_reader) // lives until the test says so
        });
        loop {
            thread::park();
        }
    });
    let mut ready = [0];
    reader.read_exact(&mut ready).unwrap();
    assert_eq!(ready, [1]);
    assert!(held(object, PRODUCER));
    let pid = rustix::process::Pid::from_raw(owner).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(wait_for(owner), 1000 + libc::SIGKILL);
    let answer = held(object, PRODUCER);
    // One byte ends the grandchild, which is nobody's child here.
    stay_writer.write_all(&[0]).unwrap();
    drop(writer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap(); // at its end once the grandchild is gone
    answer
}

fn wait_for_a_byte(mut reader: &UnixStream) -> i32 {
    let mut byte = [0];
    i32::from(reader.read_exact(&mut byte).is_err())
}

/// Goal: a killed owner's role is free although its forked child lives. Control: with the lock's
/// descriptor left open the same steps leave it held, so the test can tell.
#[test]
fn a_killed_owner_frees_the_role() {
    let _alone = alone();
    let object = anonymous();
    assert!(!held_after_kill(&object, Holding::Lease));
    drop(take(&object, PRODUCER).unwrap());
    assert!(held_after_kill(&object, Holding::Descriptor));
    assert!(!held(&object, PRODUCER));
}

/// Goal: somebody who may only read the file can set a read lock; that is no holder, though it
/// does keep the role from being taken while it lasts.
#[test]
fn a_reader_is_no_holder() {
    let _alone = alone();
    let object = anonymous();
    let reader = object.fresh_description(true).unwrap();
    let request = lock_request(libc::F_RDLCK, PRODUCER);
    // SAFETY: an open descriptor and a valid struct.
    let set = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    assert_eq!(set, 0);
    assert!(!held(&object, PRODUCER));
    assert!(take(&object, PRODUCER).is_none());
    drop(reader);
    drop(take(&object, PRODUCER).unwrap());
}

/// Goal: the attach lock is waited for, up to the bound and not beyond, and taken when it is freed.
#[test]
fn the_attach_lock_is_waited_for() {
    let _alone = alone();
    let object = anonymous();
    let first = AttachLock::take(&object, Duration::ZERO).unwrap();
    assert!(held(&object, ATTACH_LOCK_BYTE));
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        let started = Instant::now();
        match AttachLock::take(&object, timeout) {
            Err(OpenError::Busy { waited_ms, .. }) => {
                assert!(u128::from(waited_ms) >= timeout.as_millis());
            }
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() >= timeout);
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| AttachLock::take(&object, Duration::MAX).map(drop));
        drop(first);
        waiting.join().unwrap().unwrap();
    });
    assert!(!held(&object, ATTACH_LOCK_BYTE));
}
