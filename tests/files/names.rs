//! A ring's name and rights change while it is in use: the pair goes on with the file that it has.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use libtest_mimic::Trial;
use ringduct::{Location, OpenError, Options};

use crate::bench::{Bench, go_round};
use crate::driver::Agent;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let tests: [(&str, fn()); 4] = [
        ("renamed", a_renamed_ring_goes_on),
        ("replaced", a_replaced_ring_goes_on),
        ("other_mode", another_mode_keeps_newcomers_out),
        ("other_owner", another_owner_keeps_newcomers_out),
    ];
    for (name, body) in tests {
        trials.push(Trial::test(format!("names::{name}"), move || {
            body();
            Ok(())
        }));
    }
}

/// Goal: a pair goes on with a file that has another name by now; who comes by the old name finds
/// nothing; nobody removes it by the old name, and who opens it by the new one can.
fn a_renamed_ring_goes_on() {
    let bench = Bench::new(2, false);
    let (mut tx, mut rx) = bench.pair();
    let elsewhere = bench.beside("elsewhere.ring");
    fs::rename(bench.path(), &elsewhere).unwrap();
    go_round(&mut tx, &mut rx, false);
    assert_eq!(
        Agent::start().ask(&format!("open {}", bench.path().display())),
        "NotFound"
    );
    rx.does("leave");
    rx.does("consumer"); // it still has a name
    drop((tx, rx));
    let error = bench.ring.remove().unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    assert!(elsewhere.exists());
    let there = Options::new()
        .open(&Location::from(elsewhere.clone()))
        .unwrap();
    there.remove().unwrap();
    assert!(!elsewhere.exists());
}

/// Goal: a pair goes on with its file when another ring has taken the name; newcomers get that
/// one; who has the old one open neither attaches anew nor removes the other.
fn a_replaced_ring_goes_on() {
    let bench = Bench::new(2, false);
    let (mut tx, mut rx) = bench.pair();
    let new = bench.beside("new.ring");
    let other = Options::new().create(&Location::from(new.clone())).unwrap();
    fs::rename(new, bench.path()).unwrap();
    go_round(&mut tx, &mut rx, false);
    let found = Options::new().open(&Location::from(bench.path())).unwrap();
    assert_eq!(found.uuid(), other.uuid());
    rx.does("leave");
    assert_eq!(rx.ask("consumer"), "NotFound");
    assert_eq!(tx.ask("remove"), "RoleTaken");
    tx.does("leave");
    assert_eq!(tx.ask("remove"), "NotARing");
    let still = Options::new().open(&Location::from(bench.path())).unwrap();
    assert_eq!(still.uuid(), other.uuid());
    still.producer().unwrap().send(b"in use").unwrap();
    still.remove().unwrap();
}

/// Whether tests may become another user; where not, says so.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("SKIPPED: only root can become another user");
    }
    is_root
}

const NOBODY: u32 = 65534;

/// A ring of a user without rights, in a directory that this user may search.
fn ring_of_nobody() -> Bench {
    let bench = Bench::new(2, false);
    let directory = bench.path();
    let directory = directory.parent().unwrap();
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    chown(bench.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    bench
}

fn agent_of_nobody() -> Agent {
    let mut agent = Agent::start();
    agent.does(&format!("uid {NOBODY}"));
    agent
}

/// Goal: a pair goes on when the mode forbids it, and newcomers are refused. Method: an owner
/// without the rights of root, before which the mode is taken away.
fn another_mode_keeps_newcomers_out() {
    if !is_root() {
        return;
    }
    let bench = ring_of_nobody();
    let open = format!("open {}", bench.path().display());
    let [mut tx, mut rx, mut late] = [(); 3].map(|()| agent_of_nobody());
    for agent in [&mut tx, &mut rx] {
        agent.does(&open);
    }
    tx.does("producer");
    rx.does("consumer");
    for mode in [0o400, 0o200, 0] {
        fs::set_permissions(bench.path(), Permissions::from_mode(mode)).unwrap();
        go_round(&mut tx, &mut rx, mode == 0);
        assert_eq!(late.ask(&open), "Os", "{mode:o}");
    }
}

/// Goal: the same when the file is given to somebody else.
fn another_owner_keeps_newcomers_out() {
    if !is_root() {
        return;
    }
    let bench = ring_of_nobody();
    let open = format!("open {}", bench.path().display());
    let [mut tx, mut rx, mut late] = [(); 3].map(|()| agent_of_nobody());
    for agent in [&mut tx, &mut rx] {
        agent.does(&open);
    }
    tx.does("producer");
    rx.does("consumer");
    chown(bench.path(), Some(0), Some(0)).unwrap();
    go_round(&mut tx, &mut rx, false);
    assert_eq!(late.ask(&open), "WrongOwner");
    chown(bench.path(), Some(NOBODY), None).unwrap();
    let error = Options::new()
        .open(&Location::from(bench.path()))
        .unwrap_err();
    assert!(matches!(error, OpenError::WrongOwner { .. }), "{error}");
}
