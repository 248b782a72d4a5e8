//! Process ids that are used again, or mean nothing here; processes that the kernel holds still.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use ringduct::{Location, Options, PeerState, Ring};
use rustix::process::Signal;

use crate::driver::Agent;
use crate::setup::{Kind, Setup, on, unique};
use crate::users::{as_root, open_to_all, skipped};

/// The id that is used again.
const AGAIN: u32 = 4242;

/// Times that each side is stopped or frozen.
const ROUNDS: u64 = 15;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let mut trial = |name: &'static str, body: fn()| {
        trials.push(Trial::test(format!("spaces::{name}"), move || {
            if as_root(name) {
                body();
            }
            Ok::<(), Failed>(())
        }));
    };
    trial(
        "a_pid_used_again_is_no_holder",
        a_pid_used_again_is_no_holder,
    );
    trial(
        "peers_in_other_pid_namespaces",
        peers_in_other_pid_namespaces,
    );
    trial("a_frozen_peer_is_not_dead", a_frozen_peer_is_not_dead);
    let some = [Kind::File, Kind::Inherited, Kind::SysVKey];
    on(
        trials,
        &some,
        "stopped_again_and_again",
        stopped_again_and_again,
    );
}

/// A pid namespace: its first process, which does nothing but fork, and a place for its sockets.
struct Space {
    first: Agent,
    directory: tempfile::TempDir,
    _outside: Agent,
}

impl Space {
    /// `None` where such namespaces are not to be had; in CI that is a failure.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        open_to_all(directory.path());
        let mut outside = Agent::start();
        outside.tell("unshare-pids");
        if let Err(error) = outside.answer() {
            skipped("a test in a pid namespace", &error);
            return None;
        }
        let mut first = Agent::forked(&mut outside, directory.path());
        assert_eq!(first.ask("pid"), "1");
        first.ask("reap");
        // So that whoever looks a process up by its id finds those of this namespace.
        first.ask("own-proc");
        Some(Self {
            first,
            directory,
            _outside: outside,
        })
    }

    /// A process with this id in the namespace.
    fn agent(&mut self, pid: u32) -> Agent {
        let mut agent = Agent::forked_as(&mut self.first, self.directory.path(), pid);
        assert_eq!(agent.ask("pid"), pid.to_string());
        agent
    }
}

fn shared_ring(directory: &Path) -> (Ring, Location) {
    let place = Location::from(directory.join(format!("{}.ring", unique())));
    let ring = Options::new().capacity_bytes(16384).create(&place).unwrap();
    (ring, place)
}

/// Goal: a process that has got the id of a dead holder is not taken for it, be it running or
/// stopped: the holder stays dead, its role is free. Method: in a pid namespace of its own, kill the
/// holder and give its id to a bystander; look from inside and from outside; then let a process
/// with that same id take the role.
fn a_pid_used_again_is_no_holder() {
    let Some(mut space) = Space::new() else {
        return;
    };
    let (ring, place) = shared_ring(space.directory.path());
    let mut rx = space.agent(77);
    rx.ask(&format!("open {place}"));
    rx.ask("consumer");
    let mut sent = 0;
    for stopped in [false, true, false, true] {
        let mut holder = space.agent(AGAIN);
        holder.ask(&format!("open {place}"));
        holder.ask("producer");
        assert!(ring.consumer().unwrap_err().to_string().contains("pid 77"));
        let said = ring.producer().unwrap_err().to_string();
        assert!(
            said.contains("pid 4242") && said.contains("unverified"),
            "{said}"
        );
        holder.ask(&format!("send {sent} 5 300 one"));
        assert_eq!(rx.ask("peer"), "Attached");
        holder.kill();
        let bystander = space.agent(AGAIN);
        if stopped {
            bystander.signal(Signal::STOP);
        }
        assert_eq!(rx.ask("peer"), "Gone");
        assert_eq!(
            ring.observer().unwrap().snapshot().producer.state,
            PeerState::Gone
        );
        assert_eq!(rx.ask(&format!("drain {sent} 300")), "5 PeerGone");
        sent += 5;
        // The role is free although a process with its holder's id lives.
        drop(ring.producer().unwrap());
        bystander.kill();
    }
}

/// Goal: peers that do not see each other's processes are told alive from dead all the same; what
/// a holder says of itself stays a hint. Method: a producer in one pid namespace, a consumer in
/// another, an observer in neither; ids that mean somebody else outside; stop, continue, kill.
fn peers_in_other_pid_namespaces() {
    let (Some(mut one), Some(mut other)) = (Space::new(), Space::new()) else {
        return;
    };
    let (ring, place) = shared_ring(one.directory.path());
    // Neither finds the other's id in its own `/proc`; outside it is somebody else's, or nobody's.
    let (mut tx, mut rx) = (one.agent(AGAIN), other.agent(77));
    for (agent, role) in [(&mut tx, "producer"), (&mut rx, "consumer")] {
        agent.ask(&format!("open {place}"));
        agent.ask(role);
    }
    tx.tell("send 0 2000 300 batch");
    rx.tell("recv 0 2000 300 drain");
    tx.hear();
    rx.hear();
    assert_eq!(tx.ask("peer"), "Attached");
    assert_eq!(rx.ask("peer"), "Attached");
    let said = rx.refused("producer");
    assert!(
        said.contains("RoleTaken") && said.contains("unverified"),
        "{said}"
    );
    tx.signal(Signal::STOP);
    assert_eq!(rx.ask("time-out 250"), "Err(TimedOut)");
    assert_ne!(rx.ask("peer"), "Gone");
    assert!(rx.refused("producer").contains("RoleTaken"));
    tx.signal(Signal::CONT);
    tx.ask("send 2000 5 300 one");
    tx.kill();
    assert_eq!(rx.ask("drain 2000 300"), "5 PeerGone");
    assert_eq!(rx.ask("peer"), "Gone");
    drop(ring.producer().unwrap());
    // A whole namespace that ends takes its holders with it.
    let mut next = one.agent(AGAIN);
    next.ask(&format!("open {place}"));
    next.ask("producer");
    next.ask("send 2005 5 300 one");
    drop(one);
    assert_eq!(rx.ask("drain 2005 300"), "5 PeerGone");
}

/// Goal: a process that is stopped again and again, each time for longer than its peer waits, is
/// stalled and never dead, and afterwards nothing is missing. Method: stop each side in turn, and
/// let the other's whole timeout pass in that time, before some messages are moved.
fn stopped_again_and_again(setup: &mut Setup) {
    let (mut tx, mut rx) = setup.pair();
    let mut watch = setup.agent();
    for round in 0..ROUNDS {
        let first = round * 40;
        tx.signal(Signal::STOP);
        watch.ask("until producer stopped");
        assert_eq!(rx.ask("time-out 20"), "Err(TimedOut)");
        assert_eq!(rx.ask("peer"), "Stopped");
        assert!(watch.refused("producer").contains("RoleTaken"));
        // It goes on in the middle of a wait.
        rx.tell(&format!("recv {first} 20 300 one"));
        tx.signal(Signal::CONT);
        tx.ask(&format!("send {first} 40 300 batch"));
        rx.hear();
        rx.signal(Signal::STOP);
        watch.ask("until consumer stopped");
        assert_eq!(tx.ask("peer"), "Stopped");
        assert!(watch.refused("consumer").contains("RoleTaken"));
        rx.signal(Signal::CONT);
        rx.ask(&format!("recv {} 20 300 drain", first + 20));
    }
    assert_eq!(watch.ask("count producer sessions"), "1");
    assert_eq!(watch.ask("count consumer sessions"), "1");
}

/// A control group that can be frozen.
struct Freezer(PathBuf);

impl Freezer {
    /// `None` where there is none to be had; in CI that is a failure.
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounted = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let place = mounted.find(|words| words[2] == "cgroup2");
        let name = format!("ringduct-test-{}", unique());
        let group = place.map(|words| Path::new(words[1]).join(name));
        let Some(group) = group.filter(|group| fs::create_dir(group).is_ok()) else {
            skipped(
                "the freezer",
                "no control groups of version 2 can be made here",
            );
            return None;
        };
        Some(Self(group))
    }

    fn add(&self, agent: &Agent) {
        fs::write(self.0.join("cgroup.procs"), agent.pid().to_string()).unwrap();
    }

    /// Freezes or thaws all that are in it, and waits until that is so.
    fn set(&self, frozen: bool) {
        let number = u8::from(frozen);
        fs::write(self.0.join("cgroup.freeze"), number.to_string()).unwrap();
        let wanted = format!("frozen {number}");
        loop {
            let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap();
            if events.lines().any(|line| line == wanted) {
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set(false);
        // Its processes have ended: agents are dropped first.
        let _gone = fs::remove_dir(&self.0);
    }
}

/// Goal: a process that the kernel has frozen with its container is stalled, never dead. Method: as
/// with stops, by a control group's freezer.
fn a_frozen_peer_is_not_dead() {
    let Some(freezer) = Freezer::new() else {
        return;
    };
    let mut setup = Setup::new(Kind::Shm, 16384, "plain");
    let (mut tx, mut rx) = setup.pair();
    let mut watch = setup.agent();
    freezer.add(&tx);
    for round in 0..ROUNDS {
        let first = round * 20;
        freezer.set(true);
        assert_eq!(rx.ask("time-out 20"), "Err(TimedOut)");
        assert_ne!(rx.ask("peer"), "Gone");
        assert!(watch.refused("producer").contains("RoleTaken"));
        freezer.set(false);
        rx.tell(&format!("recv {first} 20 300 one"));
        tx.ask(&format!("send {first} 20 300 batch"));
        rx.hear();
    }
    assert_eq!(watch.ask("count producer sessions"), "1");
    drop((tx, rx, watch));
    setup.finish();
}
