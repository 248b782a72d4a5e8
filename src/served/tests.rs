use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::handover::Grant;
use crate::{Location, OpenError, Options, Ring, Role};

/// A folder with a socket in it that somebody may serve.
struct Post {
    dir: tempfile::TempDir,
}

impl Post {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn place(&self) -> Location {
        Location::Unix(self.path())
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.path()).unwrap()
    }
}

/// Hands `ring` over to as many as there are grants, in order.
fn serve(
    listener: UnixListener,
    ring: Ring,
    grants: &'static [Grant],
) -> thread::JoinHandle<(UnixListener, Ring)> {
    thread::spawn(move || {
        for grant in grants {
            let (socket, _) = listener.accept().unwrap();
            ring.hand_over(&socket, *grant).unwrap();
        }
        (listener, ring)
    })
}

fn quick() -> Options {
    Options::new().attach_timeout(Duration::from_millis(20))
}

/// Goal: `unix:PATH` is a location like any other for whoever attaches or looks on. Method: a
/// server in a thread; both roles, an observer, a second producer, from attaches of their own.
#[test]
fn a_served_ring_is_opened_by_its_location() {
    let post = Post::new();
    let ring = Options::new().capacity_bytes(8192).create_memfd("served");
    let uuid = ring.as_ref().unwrap().uuid();
    let grants = &[
        Grant::ReadWrite,
        Grant::ReadWrite,
        Grant::ReadOnly,
        Grant::ReadWrite,
        Grant::ReadWrite,
    ];
    let server = serve(post.listen(), ring.unwrap(), grants);
    let place = post.place();
    let text = format!("unix:{}", post.path().display());
    assert_eq!(place.to_string(), text);
    let here = Options::new().open(&place).unwrap();
    assert_eq!((here.uuid(), here.name()), (uuid, &*text));
    let mut tx = here.producer().unwrap();
    let there = Options::new().open_or_create(&place).unwrap();
    let mut rx = there.consumer().unwrap();
    tx.send(b"over the counter").unwrap();
    let observer = Options::new().observe(&place).unwrap();
    assert_eq!(observer.snapshot().backlog_messages, 1);
    assert_eq!(rx.messages().next().unwrap().unwrap(), b"over the counter");
    match Options::new().open(&place).unwrap().producer() {
        Err(OpenError::RoleTaken { name, role, .. }) => {
            assert_eq!((&*name, role), (&*text, Role::Producer));
        }
        other => panic!("{other:?}"),
    }
    let other = Options::new().capacity_bytes(4096).open(&place);
    assert!(
        matches!(other, Err(OpenError::Mismatch { .. })),
        "{other:?}"
    );
    let (listener, ring) = server.join().unwrap();
    drop((listener, ring));
    tx.send(b"the server is gone").unwrap();
    assert_eq!(
        rx.messages().next().unwrap().unwrap(),
        b"the server is gone"
    );
    let removed = here.remove().unwrap_err();
    drop(tx);
    assert!(matches!(removed, OpenError::RoleTaken { .. }), "{removed}");
}

/// Goal: whoever serves a ring at a socket is believed only under the expected user, and nothing
/// is asked of anybody else. Method: an owner that this test does not run under, and a server that
/// hands nothing over: waiting for it would end in another error.
#[test]
fn a_stranger_at_the_socket_is_refused() {
    let post = Post::new();
    let listener = post.listen();
    let own = rustix::process::geteuid().as_raw();
    match quick().owner(own + 1).open(&post.place()) {
        Err(OpenError::WrongOwner {
            name,
            expected,
            found,
        }) => {
            assert_eq!((expected, found), (own + 1, own));
            assert!(name.starts_with("unix:"), "{name}");
        }
        other => panic!("{other:?}"),
    }
    drop(listener);
}

fn reason(outcome: Result<Ring, OpenError>) -> &'static str {
    match outcome {
        Err(OpenError::NotServed { why, name }) => {
            assert!(name.starts_with("unix:"), "{name}");
            why
        }
        other => panic!("{other:?}"),
    }
}

/// Goal: each way in which nobody hands a ring over is an error of its own, within the timeout.
/// Method: no socket; a socket whose server has ended; one that does not accept; one that accepts
/// and sends nothing; one that ends the connection; one whose queue is full.
#[test]
fn servers_that_do_not_serve_are_told_apart() {
    let post = Post::new();
    let place = post.place();
    for _ in 0..2 {
        let missing = quick().open(&place).unwrap_err();
        assert!(matches!(missing, OpenError::NotFound { .. }), "{missing}");
    }
    drop(post.listen());
    assert!(reason(quick().open(&place)).contains("nobody listens"));
    std::fs::remove_file(post.path()).unwrap();
    let listener = post.listen();
    assert!(reason(quick().open(&place)).contains("did not answer"));
    let server = thread::spawn(move || {
        let (abandoned, _) = listener.accept().unwrap();
        drop(abandoned);
        let (ended, _) = listener.accept().unwrap();
        drop(ended);
        listener
    });
    assert!(reason(Options::new().open(&place)).contains("ended the connection"));
    let listener = server.join().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        match quick().open(&place) {
            Err(OpenError::NotServed { why, .. }) if why.contains("did not answer") => {}
            outcome => break assert!(reason(outcome).contains("did not take")),
        }
        waiting.push(());
        assert!(waiting.len() < 10, "the queue has room for all of them");
    }
    assert_eq!(waiting.len(), 1, "the queue of zero holds one");
}

/// Goal: what is no ring's socket is told apart from a server that is away. Method: a plain file, a
/// socket of another type, a path that is too long for the kernel, and a mark without a ring.
#[test]
fn other_things_at_the_path_are_no_rings() {
    let post = Post::new();
    let found = || match quick().open(&post.place()) {
        Err(OpenError::NotARing { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    std::fs::write(post.path(), b"").unwrap();
    assert_eq!(found(), "a regular file");
    std::fs::remove_file(post.path()).unwrap();
    let datagrams = UnixDatagram::bind(post.path()).unwrap();
    assert_eq!(found(), "a socket of another type");
    drop(datagrams);
    std::fs::remove_file(post.path()).unwrap();
    let listener = post.listen();
    let server = thread::spawn(move || {
        use std::io::Write;
        listener.accept().unwrap().0.write_all(b"R").unwrap();
    });
    assert_eq!(found(), "no descriptor");
    server.join().unwrap();
    let long = Location::Unix("x".repeat(108).into());
    match Options::new().open(&long) {
        Err(OpenError::InvalidOption {
            option, expected, ..
        }) => assert_eq!((option, expected.contains("107")), ("location", true)),
        other => panic!("{other:?}"),
    }
}

/// Goal: a ring is not made at a socket, and the error says how one gets there.
#[test]
fn a_ring_is_not_made_at_a_socket() {
    let post = Post::new();
    for refused in [
        Options::new().create(&post.place()),
        Options::new().open_or_create(&post.place()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::InvalidOption { .. }), "{error}");
        assert!(error.to_string().contains("ringduct serve"), "{error}");
    }
    assert!(!post.path().exists());
    let durable = Options::new().durable(true).create(&post.place());
    assert!(matches!(durable, Err(OpenError::NotDurable { .. })));
}
