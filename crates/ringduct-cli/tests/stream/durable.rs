//! `--durable` and `--checkpoint`, on a disk.

use std::path::PathBuf;

use ringduct::{Location, OpenError, Options};

use crate::support::{Place, Run, lines, run, run_with, tool};

/// A folder on a disk; under `CI` there must be one.
fn disk(test: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().to_owned();
    let probe = Location::from(path.join("probe.ring"));
    match Options::new().durable(true).create(&probe) {
        Ok(_) => Some((dir, path)),
        Err(error @ OpenError::NotDurable { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            println!("SKIPPED {test}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Goal: `--checkpoint` makes what passed durable, on both sides and in each of its forms.
#[test]
fn checkpoints_reach_the_medium() {
    let Some((_dir, path)) = disk("checkpoints_reach_the_medium") else {
        return;
    };
    for (when, other) in [("end", "every:10"), ("every:100", "5ms"), ("5ms", "end")] {
        let place = Place::file(&path).create(&["--durable", "--checksum", "--capacity", "64K"]);
        let command = ["send", &place.name, "--checkpoint", when];
        let sender = Run::with_input(&mut tool(&command), &lines(5000));
        let received = run(&["recv", &place.name, "--checkpoint", other]).succeeded();
        assert_eq!(received, lines(5000), "{when} {other}");
        sender.finish().succeeded();
        let snapshot = place.observer().snapshot();
        let end = Some(snapshot.producer.totals.position);
        assert_eq!(snapshot.producer.totals.messages, 5000);
        assert_eq!(snapshot.producer.durable_position, end, "{when}");
        assert_eq!(snapshot.consumer.durable_position, end, "{other}");
    }
}

/// Goal: while it runs, a policy makes checkpoints too, by messages and by the clock.
#[test]
fn checkpoints_are_made_on_the_way() {
    let Some((_dir, path)) = disk("checkpoints_are_made_on_the_way") else {
        return;
    };
    for when in ["every:1", "1ms"] {
        let place = Place::file(&path).create(&["--durable", "--capacity", "64K"]);
        let mut command = tool(&["send", &place.name, "--checkpoint", when]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"a line\n").unwrap();
        place.wait_until("a checkpoint", |ring| {
            ring.producer.totals.messages == 1
                && ring.producer.durable_position == Some(ring.producer.totals.position)
        });
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

/// Goal: what is no disk is refused by name.
#[test]
fn memory_is_not_durable() {
    let place = Place::shm();
    let done = run(&["create", &place.name, "--durable"]);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr.contains("ext4, xfs, btrfs or f2fs"), "{done:?}");
    let place = Place::shm().create(&[]);
    let done = run_with(&["send", &place.name, "--checkpoint", "5ms"], b"x\n");
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr.contains("nothing outlives a power cut here"),
        "{done:?}"
    );
}
