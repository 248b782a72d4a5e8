//! Power cuts in the middle of making a ring.

use libtest_mimic::Trial;
use ringduct::{Location, OpenError, Options};
use ringduct_kernelcut::FileSystem;

use crate::child::{self, Reporter};
use crate::cuts::Cuts;
use crate::need;
use crate::trace::{self, Traced};

const CAPACITY: u64 = 16384;

/// Beginnings and ends of system calls that a creation has at least: with fewer, something else
/// than a creation was cut.
const MIN_CUTS: u64 = 20;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in FileSystem::ALL.into_iter().filter(|kind| kind.can_be_cut()) {
        trials.push(Trial::test(
            format!("create::cut_at_every_call::{kind:?}"),
            move || {
                need::root_and_loop(|| {
                    at_every_call(kind);
                    Ok(())
                })
            },
        ));
    }
}

fn options() -> Options {
    Options::new()
        .capacity_bytes(CAPACITY)
        .checksum(true)
        .durable(true)
}

/// Makes a ring, between two stops.
pub(crate) fn child(words: &[&str]) {
    let place: Location = words[0].parse().unwrap();
    let reporter = Reporter::new("-");
    trace::stop_traced();
    match options().create(&place) {
        Ok(_ring) => reporter.say("created", &[]),
        Err(error) => eprintln!("{error}"),
    }
    trace::stop();
}

/// Goal: wherever in its making power is cut, there is no ring or a complete one, and nothing else;
/// once it is said to be made, it is there. Method: the power is cut when the child begins or ends
/// its nth system call.
fn at_every_call(kind: FileSystem) {
    let mut cuts = Cuts::new(kind);
    let path = cuts.file("new.ring");
    let place: Location = path.display().to_string().parse().unwrap();
    let (mut absent, mut present, mut made) = (0_u64, 0_u64, false);
    while !made {
        let calls = absent + present + 1;
        let child = child::start(&format!("create {}", path.display()));
        let traced = Traced::new(child.id());
        let mut all = true;
        for _ in 0..calls {
            all &= traced.next_call();
            if !all {
                break;
            }
        }
        made = !all;
        let said = cuts.cut_with(child);
        let said_created = said.iter().any(|event| event.what == "created");
        assert!(said_created || !made, "the child could not make a ring");
        match options().open(&place) {
            Ok(ring) => {
                present += 1;
                check(&ring);
                drop(ring);
                cuts.remove(&path);
            }
            Err(OpenError::NotFound { .. }) => {
                assert!(!said_created, "cut {calls}: it was said to be there");
                absent += 1;
            }
            Err(error) => panic!("cut {calls}: half a ring: {error}"),
        }
        let left: Vec<_> = std::fs::read_dir(cuts.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "lost+found")
            .collect();
        assert!(left.is_empty(), "cut {calls} leaves {left:?}");
    }
    println!("{kind:?}: {absent} cuts left nothing, {present} a ring");
    assert!(
        absent + present >= MIN_CUTS && present > 0,
        "{absent} + {present} cuts"
    );
}

/// The ring is empty and works.
fn check(ring: &ringduct::Ring) {
    let mut producer = ring.producer().unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut buffer = [0; 8];
    assert!(
        consumer.try_recv(&mut buffer).is_err(),
        "a new ring is empty"
    );
    producer.try_send(b"first").unwrap();
    assert_eq!(consumer.try_recv(&mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"first");
}
