//! Rings that have moved so many bytes that their positions reach the edges of the numbers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail by panicking"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use ringduct::{Location, Options, PeerState};

const CAPACITY: u64 = 4096;
const PAGE: u64 = 4096;
/// Producer's and consumer's pages, which begin with position and account.
const ROLES: [u64; 2] = [PAGE, 2 * PAGE];
/// In a page: the exact position, and the one in each of the two slots of the account.
const POSITIONS: [u64; 3] = [0, 8, 32];

/// How far before an edge a ring starts.
const BEFORE: u64 = 1024;

/// Messages moved across each edge.
const MESSAGES: u64 = 1_000;

/// Goal: a ring whose positions pass 2^31, 2^32, 2^63 and the end of the number space goes on as if
/// nothing were there: every byte arrives, counts and distances are right, successors of both sides
/// resume. Method: a new file ring is made older behind the library's back; then messages of many
/// lengths, some left waiting, both ends given up and taken anew all along the way over the edge.
#[test]
fn positions_pass_every_edge() {
    for edge in [1 << 31, 1 << 32, 1 << 63, 0_u64] {
        for checksum in [false, true] {
            let start = edge.wrapping_sub(BEFORE);
            let passed = cross(start, checksum);
            assert!(passed > 20 * CAPACITY, "{passed} bytes from {start:#x}");
        }
    }
}

fn cross(start: u64, checksum: bool) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let place = Location::from(directory.path().join("old.ring"));
    let options = Options::new().capacity_bytes(CAPACITY).checksum(checksum);
    let ring = options.create(&place).unwrap();
    let file = File::options()
        .write(true)
        .open(directory.path().join("old.ring"))
        .unwrap();
    for offset in ROLES
        .into_iter()
        .flat_map(|page| POSITIONS.map(|at| page + at))
    {
        file.write_all_at(&start.to_le_bytes(), offset).unwrap();
    }
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(tx.totals().position, start);
    let observer = ring.observer().unwrap();
    let (mut sent, mut taken) = (0_u64, 0_u64);
    let mut buffer = [0; 256];
    while taken < MESSAGES {
        while sent - taken < 7 {
            let length = usize::try_from(sent * 37 % 250).unwrap();
            tx.send(&vec![sent.to_le_bytes()[0]; length]).unwrap();
            sent += 1;
        }
        if sent % 5 == 0 {
            drop(tx);
            tx = ring.producer().unwrap();
        }
        let seen = observer.snapshot();
        assert_eq!(seen.backlog_messages, sent - taken);
        assert_eq!(seen.producer.state, PeerState::Attached);
        assert_eq!(rx.backlog_bytes(), seen.backlog_bytes);
        let length = rx.recv(&mut buffer).unwrap();
        assert_eq!(length as u64, taken * 37 % 250);
        assert!(
            buffer[..length]
                .iter()
                .all(|byte| *byte == taken.to_le_bytes()[0])
        );
        taken += 1;
        if taken % 7 == 0 {
            drop(rx);
            rx = ring.consumer().unwrap();
        }
    }
    assert_eq!(tx.totals().messages, sent);
    assert_eq!(rx.totals().messages, taken);
    let passed = rx.totals().position.wrapping_sub(start);
    assert_eq!(
        tx.totals().position.wrapping_sub(start),
        passed + rx.backlog_bytes()
    );
    passed
}
