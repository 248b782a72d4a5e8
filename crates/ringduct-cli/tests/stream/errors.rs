//! Every exit code and every text that one command alone brings about.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::support::{Place, Run, run_with, tool};

/// A command line with `LOC` for a ring in the state that a case begins with, and what comes of it.
struct Case {
    /// What to make first.
    ring: State,
    arguments: &'static [&'static str],
    input: &'static [u8],
    code: i32,
    /// What standard error says, in this order; `LOC` stands for the ring.
    says: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// There is none.
    Missing,
    /// An empty one of 4 KiB.
    Empty,
    /// A full one of 4 KiB: one message of 4,000 bytes.
    Full,
    /// One that holds the messages "one" and "two".
    Two,
    /// The same with checksums, and a byte of the second one changed.
    Damaged,
    /// A file of something else.
    NoRing,
}

const fn case(
    ring: State,
    arguments: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
) -> Case {
    Case {
        ring,
        arguments,
        input: b"",
        code,
        says,
    }
}

const fn fed(
    ring: State,
    arguments: &'static [&'static str],
    input: &'static [u8],
    code: i32,
    says: &'static [&'static str],
) -> Case {
    Case {
        ring,
        arguments,
        input,
        code,
        says,
    }
}

use State::{Damaged, Empty, Full, Missing, NoRing, Two};

const CASES: &[Case] = &[
    // 0: done.
    case(
        Missing,
        &["create", "LOC"],
        0,
        &["ringduct: LOC: made a ring of 1.0 MiB\n"],
    ),
    case(
        Missing,
        &[
            "create",
            "LOC",
            "--capacity",
            "1.5M",
            "--mode",
            "660",
            "--checksum",
            "--prefault",
        ],
        0,
        &["made a ring of 2.0 MiB"],
    ),
    case(
        Missing,
        &["send", "LOC", "x"],
        0,
        &["LOC: there was none; made a ring of 1.0 MiB"],
    ),
    case(Empty, &["recv", "LOC", "-n", "0"], 0, &[]),
    // 1: anything else.
    case(
        Empty,
        &["create", "LOC"],
        1,
        &["error: LOC: already exists\n", "next:", "`ringduct rm LOC`"],
    ),
    case(
        Missing,
        &["recv", "LOC", "--peek"],
        1,
        &[
            "error: LOC: there is no such ring\n",
            "next: make it with `ringduct create LOC`",
        ],
    ),
    case(
        Missing,
        &["send", "unix:/nonexistent/socket", "x"],
        1,
        &[
            "error:",
            "unix:/nonexistent/socket",
            "next: serve a ring there",
            "ringduct serve -u /nonexistent/socket",
        ],
    ),
    case(
        Missing,
        &["create", "/nonexistent/folder/x.ring"],
        1,
        &[
            "error:",
            "/nonexistent/folder/x.ring",
            "No such file or directory",
        ],
    ),
    case(
        Empty,
        &["send", "LOC", "--checkpoint", "end", "x"],
        1,
        &[
            "error: LOC: nothing outlives a power cut here",
            "next:",
            "create --durable",
        ],
    ),
    case(
        Two,
        &["recv", "LOC", "--checkpoint", "every:1"],
        1,
        &[
            "error: LOC: nothing outlives a power cut here",
            "next:",
            "create --durable",
        ],
    ),
    fed(
        Empty,
        &["send", "LOC", "--framing", "fixed:5"],
        b"abcdeabc",
        1,
        &[
            "error: LOC: the input ended within message 2, which starts at byte 5: only 3 bytes",
            "all before it were sent",
            "next: look whether --framing fits",
        ],
    ),
    fed(
        Empty,
        &["send", "LOC", "--framing", "prefix"],
        b"\x02\0\0\0ab\x02\0",
        1,
        &["error: LOC: the input ended within message 2, which starts at byte 6: only 2 bytes"],
    ),
    fed(
        Empty,
        &["send", "LOC", "--framing", "prefix"],
        b"\0\0\0\x01abc",
        1,
        &[
            "error: LOC: message 1 of the input, which starts at byte 0, has 16777216 bytes, and the \
           ring takes at most 4080",
            "next: make a ring with more --capacity, or send the stream \
           with --framing raw",
        ],
    ),
    fed(
        Empty,
        &["send", "LOC", "--framing", "fixed:8K"],
        b"abc",
        1,
        &[
            "error: LOC: message 1 of the input",
            "has 8192 bytes",
            "takes at most 4080",
        ],
    ),
    case(
        Two,
        &["recv", "LOC", "--framing", "fixed:4"],
        1,
        &[
            "error: LOC: a message of 3 bytes, and --framing fixed says 4",
            "next:",
            "prefix",
        ],
    ),
    case(
        Two,
        &["recv", "LOC", "--exec", "false"],
        1,
        &[
            "error: LOC: the command \"false\" ended with exit code 1; the message it was given \
           stays in the ring\n",
            "next:",
            "recv --peek -n 1",
        ],
    ),
    case(
        Two,
        &["recv", "LOC", "--exec", "sh", "-c", "kill -KILL $$"],
        1,
        &["error: LOC: the command \"sh\" was killed by signal 9; the message"],
    ),
    case(
        Two,
        &["recv", "LOC", "--exec", "/nonexistent/program"],
        1,
        &["error: LOC: the command \"/nonexistent/program\" could not be run (No such file"],
    ),
    // 2: the command line.
    case(Missing, &[], 2, &["Usage: ringduct", "Exit codes:"]),
    case(
        Missing,
        &["frobnicate"],
        2,
        &["error: unrecognized subcommand 'frobnicate'"],
    ),
    case(
        Missing,
        &["recv", "shm:a/b"],
        2,
        &["does not name a ring", "a slash"],
    ),
    case(
        Missing,
        &["recv", "LOC", "--framing", "words"],
        2,
        &["none of line, nul, fixed:BYTES"],
    ),
    case(
        Missing,
        &["recv", "LOC", "--timeout", "1 day"],
        2,
        &["is not a duration such as 200ms"],
    ),
    case(
        Missing,
        &["recv", "LOC", "--rate", "0"],
        2,
        &["not a number of messages a second"],
    ),
    case(
        Missing,
        &["recv", "LOC", "--peek", "--exec", "cat"],
        2,
        &["cannot be used with"],
    ),
    case(
        Missing,
        &["send", "LOC", "--checkpoint", "often"],
        2,
        &["every:MESSAGES, a duration"],
    ),
    case(
        Missing,
        &["create", "LOC", "--capacity", "64X"],
        2,
        &["is not a size such as 4096, 64K"],
    ),
    case(
        Missing,
        &["create", "LOC", "--mode", "9"],
        2,
        &["is not an octal number"],
    ),
    case(
        Missing,
        &["create", "LOC", "--mode", "400"],
        2,
        &["error: LOC: option mode is 0o400"],
    ),
    // 3: timed out.
    case(
        Empty,
        &["recv", "LOC", "--timeout", "50ms"],
        3,
        &[
            "error: LOC: timed out: no message came\n",
            "next: start the producer (`ringduct send`)",
        ],
    ),
    case(
        Empty,
        &["recv", "LOC", "--peek", "--follow", "--timeout", "50ms"],
        3,
        &["error: LOC: timed out: no message came\n"],
    ),
    case(
        Full,
        &[
            "send",
            "LOC",
            "--timeout",
            "50ms",
            "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789",
        ],
        3,
        &[
            "error: LOC: timed out: the ring is full and nothing was taken\n",
            "next: start the consumer (`ringduct recv`)",
        ],
    ),
    fed(
        Full,
        &["send", "LOC", "--timeout", "50ms", "--framing", "raw"],
        b"abc",
        3,
        &["error: LOC: timed out: the ring is full"],
    ),
    // 5: damaged, or not a ring.
    case(
        NoRing,
        &["recv", "LOC"],
        5,
        &["error: LOC", "it was left untouched"],
    ),
    case(
        NoRing,
        &["send", "LOC", "x"],
        5,
        &["error: LOC", "it was left untouched"],
    ),
    case(
        Damaged,
        &["recv", "LOC"],
        5,
        &[
            "error: LOC: the ring is damaged: record checksum at position",
            "next: look at it with `ringduct verify`; copy what is whole with `ringduct salvage`",
        ],
    ),
    case(
        Damaged,
        &["recv", "LOC", "--peek"],
        5,
        &[
            "error: LOC: the ring is damaged: record checksum",
            "ringduct salvage",
        ],
    ),
];

/// Makes what a case begins with.
fn prepare(state: State, dir: &std::path::Path) -> Place {
    let place = Place::file(dir);
    let small = ["--capacity", "4K"];
    match state {
        Missing => place,
        Empty => place.create(&small),
        Full => {
            let place = place.create(&small);
            run_with(&["send", &place.name], &[b'x'; 4000]).succeeded();
            place
        }
        Two => {
            let place = place.create(&small);
            run_with(&["send", &place.name], b"one\ntwo\n").succeeded();
            place
        }
        Damaged => {
            let place = place.create(&["--capacity", "4K", "--checksum"]);
            run_with(&["send", &place.name], b"first\nsecond message\n").succeeded();
            let mut bytes = Vec::new();
            let file = File::options()
                .read(true)
                .write(true)
                .open(&place.name)
                .unwrap();
            (&file).read_to_end(&mut bytes).unwrap();
            let at = bytes
                .windows(6)
                .position(|window| window == b"second")
                .unwrap();
            file.write_all_at(b"S", at as u64).unwrap();
            place
        }
        NoRing => {
            File::create(&place.name)
                .unwrap()
                .write_all(&vec![b'#'; 20_000])
                .unwrap();
            place
        }
    }
}

/// Goal: every text says what happened, to which ring and what to do next, with the exit code that is
/// documented. Method: a table of one command each; standard output is empty but for messages.
#[test]
fn every_error_has_its_code_and_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for case in CASES {
        let place = prepare(case.ring, dir.path());
        let arguments: Vec<_> = case
            .arguments
            .iter()
            .map(|text| text.replace("LOC", &place.name))
            .collect();
        let done = Run::with_input(&mut tool(&arguments), case.input).finish();
        let what = format!("{arguments:?} on {:?}: {done:?}", case.ring);
        assert_eq!(done.code(), case.code, "{what}");
        let mut rest = done.stderr.as_str();
        for text in case.says {
            let text = text.replace("LOC", &place.name);
            let at = rest.find(&text);
            assert!(at.is_some(), "no {text:?} in {what}");
            rest = &rest[at.unwrap() + text.len()..];
        }
        let may_print = matches!(case.ring, Two | Damaged);
        assert!(may_print || done.stdout.is_empty(), "{what}");
        *seen.entry(case.code).or_insert(0) += 1;
    }
    println!("{seen:?}");
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 5]); // the others: below
}

/// Goal: a line longer than the ring takes stops the sender; what came before is in the ring, and what
/// comes from that line on is left in the file.
#[test]
fn a_line_that_is_too_long_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::file(dir.path()).create(&["--capacity", "4K"]);
    for long_bytes in [4081, 300_000] {
        let long = [vec![b'x'; long_bytes], b"\n".to_vec()].concat();
        let path = dir.path().join("input");
        std::fs::write(&path, [b"short\n", long.as_slice(), b"after\n"].concat()).unwrap();
        let mut file = File::open(&path).unwrap();
        let mut command = tool(&["send", &place.name]);
        let done = Run::start(command.stdin(file.try_clone().unwrap())).finish();
        assert_eq!(done.code(), 1);
        let what = "error: LOC: message 2 of the input, which starts at byte 6, has"
            .replace("LOC", &place.name);
        assert!(done.stderr.starts_with(&what), "{done:?}");
        assert!(
            done.stderr
                .contains("the ring takes at most 4080; all before it were sent")
        );
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [long.as_slice(), b"after\n"].concat(), "{long_bytes}");
        let received = crate::support::run(&["recv", &place.name]).succeeded();
        assert_eq!(received, b"short\n");
    }
}
