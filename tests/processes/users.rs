//! Rings handed to another user, who may not open them, and to whom they were not meant.
#![expect(
    clippy::print_stderr,
    reason = "says what was done and what was skipped"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use libtest_mimic::{Failed, Trial};
use ringduct::{Grant, Location, Options, Ring};
use rustix::process::Signal;

use crate::driver::Agent;
use crate::kernel;
use crate::setup::unique;

/// Nobody's user id, and another one.
pub(crate) const STRANGER: u32 = 65534;
pub(crate) const VICTIM: u32 = 65533;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let mut trial = |name: &'static str, body: fn()| {
        trials.push(Trial::test(format!("users::{name}"), move || {
            if as_root(name) {
                body();
            }
            Ok::<(), Failed>(())
        }));
    };
    trial("a_stranger_produces", || takes_a_role("producer", false));
    trial("a_stranger_consumes", || takes_a_role("consumer", false));
    trial("a_stranger_consumes_from_a_file", || {
        takes_a_role("consumer", true);
    });
    trial("children_keep_no_role", children_keep_no_role);
    trial("one_description_is_not_two", one_description_is_not_two);
    trial("a_view_cannot_be_written", a_view_cannot_be_written);
    trial("an_inherited_view", an_inherited_view);
}

/// Whether this process may become other users. Where it may not, the test says that it was
/// skipped; in CI that is a failure.
pub(crate) fn as_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(name, "needs root, to become other users");
    }
    root
}

/// Says that a test was skipped, and why; in CI that is a failure.
pub(crate) fn skipped(name: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "in CI {name} has to run: {why}"
    );
    eprintln!("SKIPPED {name}: {why}");
}

/// An agent that gave up every right and runs under `uid`.
pub(crate) fn agent_of(uid: u32) -> Agent {
    let mut agent = Agent::start();
    agent.ask(&format!("become {uid}"));
    agent
}

/// Gives a command to which the name of a socket is added, and serves that socket.
pub(crate) fn serve(
    agent: &mut Agent,
    command: &str,
    give: impl FnOnce(&UnixStream),
) -> Result<String, String> {
    let name = format!("ringduct-test-{}", unique());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    agent.tell(&format!("{command} {name}"));
    assert!(kernel::readable(listener.as_fd(), 60), "nobody comes");
    let (stream, _) = listener.accept().unwrap();
    give(&stream);
    agent.answer()
}

fn memory() -> Ring {
    let options = Options::new().capacity_bytes(16384).checksum(true);
    options.create_memfd("ringduct-test").unwrap()
}

fn receive(agent: &mut Agent, ring: &Ring, grant: Grant, uid: u32) {
    serve(agent, "receive 0", |stream| {
        ring.hand_over_to(stream, grant, uid).unwrap();
    })
    .unwrap();
}

fn strange_and_own(ring: &Ring) -> (Agent, Agent) {
    let (mut stranger, mut own) = (agent_of(STRANGER), Agent::start());
    receive(&mut stranger, ring, Grant::ReadWrite, STRANGER);
    receive(&mut own, ring, Grant::ReadWrite, 0);
    (stranger, own)
}

/// Goal: a user who may not open a ring of mode 0600 takes a role in it all the same, once it is
/// handed over: exclusive as any role, given up by leaving and by dying; a second role takes a
/// second hand-over, and the error says so. Method: the ring of root, a process of another user
/// and one of root's; every step of a role's life.
fn takes_a_role(role: &str, in_a_file: bool) {
    let directory = tempfile::tempdir().unwrap();
    let ring = if in_a_file {
        let place = Location::from(directory.path().join("ring"));
        Options::new().capacity_bytes(16384).create(&place).unwrap()
    } else {
        memory()
    };
    let (mut stranger, mut own) = strange_and_own(&ring);
    let other_role = if role == "producer" {
        "consumer"
    } else {
        "producer"
    };
    // Refused while it is held, as often as one likes: that uses nothing up.
    own.ask(role);
    for _ in 0..3 {
        assert!(stranger.refused(role).contains("RoleTaken"));
    }
    own.ask("leave");
    stranger.ask(role);
    let taken = own.refused(role);
    assert!(taken.contains("RoleTaken"), "{taken}");
    assert!(taken.contains(&format!("user {STRANGER}")), "{taken}");
    own.ask(other_role);
    assert_eq!(own.ask("peer"), "Attached");
    assert_eq!(stranger.ask("peer"), "Attached");
    stream(&mut stranger, &mut own, role, 0);

    own.ask("leave");
    for _ in 0..2 {
        let again = stranger.refused(other_role);
        assert!(again.contains("NeedsHandOver"), "{again}");
    }
    receive(&mut stranger, &ring, Grant::ReadWrite, STRANGER);
    stranger.ask(other_role);
    assert!(own.refused(other_role).contains("RoleTaken"));
    stranger.ask("leave"); // both
    own.ask(role);
    own.ask("leave");

    receive(&mut stranger, &ring, Grant::ReadWrite, STRANGER);
    stranger.ask(role);
    own.ask(other_role);
    stream(&mut stranger, &mut own, role, 3000);
    stranger.kill();
    assert_eq!(own.ask("peer"), "Gone");
    let mut next = agent_of(STRANGER);
    receive(&mut next, &ring, Grant::ReadWrite, STRANGER);
    next.ask(role);
    stream(&mut next, &mut own, role, 6000);
}

fn stream(stranger: &mut Agent, own: &mut Agent, role: &str, first: u64) {
    let (tx, rx) = match role {
        "producer" => (stranger, own),
        _ => (own, stranger),
    };
    tx.tell(&format!("send {first} 3000 700 batch"));
    rx.tell(&format!("recv {first} 3000 700 drain"));
    tx.hear();
    rx.hear();
}

/// Goal: a role that was taken through what was handed over goes with its holder, though children
/// live on that were forked before the role was taken, and after. Method: fork at both moments,
/// kill the holder, and let another process take the role while both children live.
fn children_keep_no_role() {
    let directory = tempfile::tempdir().unwrap();
    open_to_all(directory.path());
    let ring = memory();
    let (mut stranger, mut own) = strange_and_own(&ring);
    let mut before = Agent::forked(&mut stranger, directory.path());
    before.ask("orphan");
    stranger.ask("producer");
    let mut after = Agent::forked(&mut stranger, directory.path());
    after.ask("orphan");
    own.ask("consumer");
    stranger.ask("send 0 20 300 one");
    // What served the parent cannot serve the child too.
    let refused = before.refused("producer");
    assert!(refused.contains("NeedsHandOver"), "{refused}");
    stranger.kill();
    assert_eq!(own.ask("drain 0 300"), "20 PeerGone");
    let mut next = Agent::start();
    receive(&mut next, &ring, Grant::ReadWrite, 0);
    next.ask("producer");
    assert_eq!(after.ask("inert"), "Forked");
    next.ask("send 20 20 300 one");
    own.ask("recv 20 20 300 one");
    before.signal(Signal::KILL);
    after.kill();
    assert_eq!(own.ask("peer"), "Attached");
}

pub(crate) fn open_to_all(path: &std::path::Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Goal: a sender that hands over one description twice, or one that it holds a lock through
/// itself, gets nobody into a role that is taken, nor the same role twice into one process.
/// Method: send such descriptors by hand.
fn one_description_is_not_two() {
    let ring = memory();
    let fresh = || ring.descriptor().unwrap();
    let send = |agent: &mut Agent, descriptors: [&OwnedFd; 3]| {
        serve(agent, "receive 0", |stream| {
            let borrowed = descriptors.map(AsFd::as_fd);
            kernel::send_descriptors(stream, b'R', &borrowed);
        })
        .unwrap();
    };
    let mut stranger = agent_of(STRANGER);
    let one = fresh();
    send(&mut stranger, [&one, &one, &one]);
    let refused = stranger.refused("producer");
    assert!(refused.contains("one description for both"), "{refused}");

    let mut stranger = agent_of(STRANGER);
    let held = fresh();
    kernel::lock_byte(held.as_fd(), 0).unwrap();
    send(&mut stranger, [&fresh(), &fresh(), &held]);
    let refused = stranger.refused("producer");
    assert!(refused.contains("RoleTaken"), "{refused}");
    drop(held);
    drop(stranger);

    let mut stranger = agent_of(STRANGER);
    let shared = fresh();
    for expected in [None, Some("RoleTaken")] {
        send(&mut stranger, [&fresh(), &fresh(), &shared]);
        match expected {
            None => drop(stranger.ask("producer")),
            Some(why) => assert!(stranger.refused("producer").contains(why)),
        }
    }
}

/// Goal: a view handed to another user can be looked on through, and not be written to by any way
/// there is: mapped, reopened, truncated, punched, sealed, given other rights. Method: a process of
/// that user, without any capability, tries them all; the bytes stay as they were. Control: with a
/// descriptor for writing many of the same attempts work.
fn a_view_cannot_be_written() {
    let ring = memory();
    let mut own = Agent::start();
    receive(&mut own, &ring, Grant::ReadWrite, 0);
    own.ask("producer");
    own.ask("send 0 20 300 one");
    let before = bytes(&ring);
    let mut stranger = agent_of(STRANGER);
    let tried = serve(&mut stranger, "write-attempts", |stream| {
        ring.hand_over_to(stream, Grant::ReadOnly, STRANGER)
            .unwrap();
    });
    let tried = tried.unwrap();
    eprintln!("attempts and what worked: {tried}");
    let (count, worked) = tried.split_once(' ').unwrap_or((&tried, ""));
    assert_eq!(worked, "");
    assert!(count.parse::<u32>().unwrap() >= 20);
    assert!(bytes(&ring) == before, "the bytes have changed");

    serve(&mut stranger, "receive-view 0", |stream| {
        ring.hand_over_to(stream, Grant::ReadOnly, STRANGER)
            .unwrap();
    })
    .unwrap();
    assert_eq!(stranger.ask("count producer messages"), "20");
    assert_eq!(stranger.ask("count producer sessions"), "1");
    own.ask("send 20 5 300 one");
    assert_eq!(stranger.ask("count producer messages"), "25");
    let refused = serve(&mut stranger, "receive 0", |stream| {
        ring.hand_over_to(stream, Grant::ReadOnly, STRANGER)
            .unwrap();
    });
    let refused = refused.unwrap_err();
    assert!(refused.contains("for looking on"), "{refused}");
    // Looking on with more than that works too.
    serve(&mut stranger, "receive-view 0", |stream| {
        ring.hand_over_to(stream, Grant::ReadWrite, STRANGER)
            .unwrap();
    })
    .unwrap();
    assert_eq!(stranger.ask("count producer messages"), "25");

    let victim = memory();
    let tried = serve(&mut stranger, "write-attempts", |stream| {
        let writable = victim.descriptor().unwrap();
        kernel::send_descriptors(stream, b'R', &[writable.as_fd()]);
    });
    let tried = tried.unwrap();
    for expected in ["pwrite", "map for writing", "punch", "lock"] {
        assert!(tried.contains(expected), "control: {tried}");
    }
}

fn bytes(ring: &Ring) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(ring.read_only_descriptor().unwrap());
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Goal: a descriptor that a process inherited before it became another user serves for looking
/// on; for a role it does not, since others share it, and the error says what does. Method: let an
/// agent inherit one for reading and writing, become another user, and open it.
fn an_inherited_view() {
    use std::os::fd::AsRawFd;
    let ring = memory();
    let descriptor = ring.descriptor().unwrap();
    let number = descriptor.as_raw_fd();
    let mut agent = Agent::start_inheriting(Some(descriptor));
    agent.ask(&format!("become {STRANGER}"));
    let strange = agent.refused(&format!("open fd:{number}"));
    assert!(strange.contains("WrongOwner"), "{strange}");
    agent.ask(&format!("open-of 0 fd:{number}"));
    assert_eq!(agent.ask("count producer sessions"), "0");
    let refused = agent.refused("consumer");
    assert!(refused.contains("NeedsHandOver"), "{refused}");
}
