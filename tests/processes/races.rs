//! Many processes at one name.

use std::collections::HashSet;

use libtest_mimic::{Failed, Trial};

use crate::driver::Agent;
use crate::setup::{Kind, Setup};

/// Processes that race.
const RACERS: usize = 4;

/// Times that each backing is raced for.
const ROUNDS: usize = 25;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in [Kind::File, Kind::Shm, Kind::SysVKey] {
        trials.push(Trial::test(format!("create_race::{kind:?}"), move || {
            create_race(kind);
            Ok::<(), Failed>(())
        }));
        trials.push(Trial::test(
            format!("open_or_create_race::{kind:?}"),
            move || {
                open_or_create_race(kind);
                Ok::<(), Failed>(())
            },
        ));
    }
}

/// Goal: of processes that make one name at the same time exactly one does, and the others are told
/// that it is there. Method: as below, with the call that only makes.
fn create_race(kind: Kind) {
    let mut racers: Vec<Agent> = (0..RACERS).map(|_| Agent::start()).collect();
    for _ in 0..ROUNDS {
        let setup = Setup::new(kind, 16384, "plain");
        for racer in &mut racers {
            racer.tell(&format!("create {} 16384 plain", setup.place()));
        }
        let answers: Vec<_> = racers.iter_mut().map(Agent::answer).collect();
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 1, "{answers:?}");
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(refused.contains("AlreadyExists"), "{refused}");
        }
        setup.finish();
    }
}

/// Goal: processes that make and open one name at the same time all get the same ring, and at most
/// one of them each role. Method: a few processes that live through all rounds; in each round all
/// are told to open a new name before any is listened to; then all ask for the producer's role.
fn open_or_create_race(kind: Kind) {
    let mut racers: Vec<Agent> = (0..RACERS).map(|_| Agent::start()).collect();
    for _ in 0..ROUNDS {
        let setup = Setup::new(kind, 16384, "plain");
        for racer in &mut racers {
            racer.tell(&format!("open-or-create {} 16384 plain", setup.place()));
        }
        let rings: HashSet<String> = racers.iter_mut().map(Agent::hear).collect();
        assert_eq!(rings.len(), 1, "{rings:?}");
        for racer in &mut racers {
            racer.tell("producer");
        }
        let answers: Vec<_> = racers.iter_mut().map(Agent::answer).collect();
        let taken = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(taken, 1, "{answers:?}");
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert!(refused.contains("RoleTaken"), "{refused}");
        }
        for racer in &mut racers {
            racer.ask("leave");
        }
        setup.finish();
    }
}
