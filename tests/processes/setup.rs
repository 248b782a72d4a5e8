//! A ring on one of the backings, and processes that have it open.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};

use libtest_mimic::{Failed, Trial};
use ringduct::{Location, OpenError, Options, Ring};
use tempfile::TempDir;

use crate::driver::Agent;
use crate::kernel;

/// Where a ring lives and how another process gets at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Shm,
    /// A sealed memory file whose descriptor the processes inherit.
    Inherited,
    /// A sealed memory file whose descriptor comes over a Unix socket.
    Socket,
    /// Anonymous memory; the processes are forked from the one that made it.
    Anonymous,
    SysVKey,
    SysVId,
}

pub(crate) const ALL: [Kind; 7] = [
    Kind::File,
    Kind::Shm,
    Kind::Inherited,
    Kind::Socket,
    Kind::Anonymous,
    Kind::SysVKey,
    Kind::SysVId,
];

/// Adds a test of `body` on each of `kinds`.
pub(crate) fn on(trials: &mut Vec<Trial>, kinds: &[Kind], name: &str, body: fn(&mut Setup)) {
    for kind in kinds {
        let kind = *kind;
        trials.push(Trial::test(format!("{name}::{kind:?}"), move || {
            let mut setup = Setup::new(kind, 16384, "plain");
            body(&mut setup);
            setup.finish();
            Ok::<(), Failed>(())
        }));
    }
}

/// A number that no other test, and no other run at the same time, uses.
pub(crate) fn unique() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    let process = i32::try_from(std::process::id()).unwrap();
    0x4000_0000 + (process % 0x20_0000) * 256 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A ring and what is needed to give it to more processes.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) capacity: u64,
    checksum: &'static str,
    directory: TempDir,
    /// What the creator opened, where a name would not do.
    ring: Option<Ring>,
    /// Has the anonymous ring, and does nothing but fork.
    keeper: Option<Agent>,
    place: String,
    /// The same, where there is a name that has to be removed in the end.
    named: Option<Location>,
    segment: Option<i32>,
}

impl Setup {
    /// Makes the ring, unless the first process that opens it is to make it.
    pub(crate) fn new(kind: Kind, capacity: u64, checksum: &'static str) -> Self {
        let mut setup = Self {
            kind,
            capacity,
            checksum,
            directory: tempfile::tempdir().unwrap(),
            ring: None,
            keeper: None,
            place: String::new(),
            named: None,
            segment: None,
        };
        let options = Options::new()
            .capacity_bytes(capacity)
            .checksum(checksum == "checked");
        match kind {
            Kind::File => setup.place = setup.file_path().display().to_string(),
            Kind::Shm => setup.place = format!("shm:ringduct-test-{}", unique()),
            Kind::Inherited | Kind::Socket => {
                setup.ring = Some(options.create_memfd("ringduct-test").unwrap());
            }
            Kind::Anonymous => {
                let mut keeper = Agent::start();
                keeper.ask(&format!("anonymous {capacity} {checksum}"));
                keeper.ask("reap");
                setup.keeper = Some(keeper);
            }
            Kind::SysVKey => setup.place = format!("sysv:{:#x}", unique()),
            Kind::SysVId => {
                let key = unique();
                let place = Location::SysVKey(key);
                let ring = options.create(&place).unwrap();
                let id = segment_of(key).expect("a new segment is in the kernel's list");
                setup.place = format!("sysv:id:{id}");
                setup.segment = Some(id);
                drop(ring);
            }
        }
        if !setup.place.is_empty() {
            setup.named = Some(setup.place.parse().unwrap());
        }
        setup
    }

    fn file_path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    /// Where the ring is, for a backing with a name.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Starts another process that has the ring open and no role.
    pub(crate) fn agent(&mut self) -> Agent {
        match self.kind {
            Kind::Inherited => {
                let descriptor = self.ring.as_ref().unwrap().descriptor().unwrap();
                let number = descriptor.as_raw_fd();
                let mut agent = Agent::start_inheriting(Some(descriptor));
                agent.ask(&format!("open fd:{number}"));
                agent
            }
            Kind::Socket => {
                let path = self.directory.path().join("descriptor.socket");
                let listener = UnixListener::bind(&path).unwrap();
                let mut agent = Agent::start();
                agent.tell(&format!("receive-descriptor {}", path.display()));
                assert!(
                    kernel::readable(listener.as_fd(), 60),
                    "nobody comes for the descriptor"
                );
                let (stream, _) = listener.accept().unwrap();
                let descriptor = self.ring.as_ref().unwrap().descriptor().unwrap();
                kernel::send_descriptor(&stream, descriptor.as_fd());
                agent.hear();
                std::fs::remove_file(path).unwrap();
                agent
            }
            Kind::Anonymous => {
                let keeper = self.keeper.as_mut().unwrap();
                Agent::forked(keeper, self.directory.path())
            }
            Kind::SysVId => {
                let mut agent = Agent::start();
                agent.ask(&format!("open {}", self.place));
                agent
            }
            Kind::File | Kind::Shm | Kind::SysVKey => {
                let (place, capacity, checksum) = (&self.place, self.capacity, self.checksum);
                let mut agent = Agent::start();
                agent.ask(&format!("open-or-create {place} {capacity} {checksum}"));
                agent
            }
        }
    }

    /// A process in the producer's role and one in the consumer's.
    pub(crate) fn pair(&mut self) -> (Agent, Agent) {
        let (mut tx, mut rx) = (self.agent(), self.agent());
        tx.ask("producer");
        rx.ask("consumer");
        (tx, rx)
    }

    /// Lets `parent` fork a child.
    pub(crate) fn fork(&self, parent: &mut Agent) -> Agent {
        Agent::forked(parent, self.directory.path())
    }

    /// The longest message the ring takes.
    pub(crate) fn longest(&self) -> usize {
        usize::try_from(self.capacity).unwrap() - 16
    }

    /// Removes the ring, all of its processes having ended, and checks that nothing is left.
    pub(crate) fn finish(mut self) {
        let Some(place) = self.named.take() else {
            return; // no name: gone with the last process
        };
        let segment = match place {
            Location::SysVKey(key) => segment_of(key),
            _ => self.segment,
        };
        let ring = Options::new().open(&place).unwrap();
        ring.remove().unwrap();
        let again = Options::new().open(&place).unwrap_err();
        assert!(matches!(again, OpenError::NotFound { .. }), "{again}");
        if let Some(id) = segment {
            assert!(!segment_ids().contains(&id), "segment {id} is still there");
            let companion = format!("/dev/shm/ringduct-sysv-{id}");
            assert!(!std::fs::exists(companion).unwrap());
        }
        if let Location::Shm(name) = place {
            assert!(!std::fs::exists(format!("/dev/shm/{name}")).unwrap());
        }
        assert_eq!(std::fs::read_dir(self.directory.path()).unwrap().count(), 0);
    }
}

impl Drop for Setup {
    /// A test that failed has said so; its ring must not stay behind all the same.
    fn drop(&mut self) {
        if let Some(place) = self.named.take() {
            let _removed = Options::new().open(&place).and_then(|ring| ring.remove());
        }
    }
}

/// The columns of `/proc/sysvipc/shm`, which is what `ipcs -m` shows: key and id come first.
fn segments() -> Vec<(i32, i32)> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            (number(words.next()), number(words.next()))
        })
        .collect()
}

/// The id of the segment with this key.
pub(crate) fn segment_of(key: i32) -> Option<i32> {
    segments()
        .into_iter()
        .find_map(|(found, id)| (found == key).then_some(id))
}

fn segment_ids() -> Vec<i32> {
    segments().into_iter().map(|(_, id)| id).collect()
}
