//! What the errors say: the thing, what was expected, what was found, and what to do about it.

use std::error::Error;
use std::io;

use ringduct::{
    Corruption, Damage, Holder, Location, OpenError, RecvError, Role, SendError, TryRecvError,
    TrySendError,
};

const NAME: &str = "/run/orders.ring";

fn name() -> String {
    NAME.to_owned()
}

fn corruption() -> Corruption {
    Corruption {
        what: Damage::RecordLength,
        position: 4711,
        expected: 0x1000,
        found: 0xBEEF,
    }
}

/// Each error of opening, with what its text must hold besides the name.
fn refusals() -> Vec<(OpenError, &'static [&'static str])> {
    let mut holder = Holder::default();
    holder.pid = 4242;
    holder.uid = 1000;
    "trader".clone_into(&mut holder.program);
    let holder = Box::new(holder);
    let role = Role::Producer;
    let (expected, found) = ("what is right".to_owned(), "what is wrong".to_owned());
    let mut all = numbers();
    all.extend(rights());
    all.extend([
        (OpenError::NotFound { name: name() }, &["create it"] as &[_]),
        (
            OpenError::AlreadyExists { name: name() },
            &["open it", "remove it"],
        ),
        (
            OpenError::NotARing {
                name: name(),
                expected: expected.clone(),
                found: found.clone(),
            },
            &["what is right", "what is wrong", "untouched"],
        ),
        (
            OpenError::Unsealed {
                name: name(),
                missing: "shrink, grow",
            },
            &["shrink, grow", "seal it"],
        ),
        (
            OpenError::Mismatch {
                name: name(),
                option: "checksum",
                expected,
                found,
            },
            &[
                "checksum",
                "what is right",
                "what is wrong",
                "leave the option out",
            ],
        ),
        (
            OpenError::RoleTaken {
                name: name(),
                role,
                holder,
            },
            &["producer", "4242", "1000", "trader", "unverified", "end it"],
        ),
        (
            OpenError::Cold {
                name: name(),
                why: "a flood",
            },
            &["a flood", "untouched", "copy"],
        ),
        (
            OpenError::Os {
                name: name(),
                action: "lock it",
                source: full(),
            },
            &["lock it", "No space left"],
        ),
    ]);
    all
}

/// Those about who may do what.
fn rights() -> Vec<(OpenError, &'static [&'static str])> {
    vec![
        (
            OpenError::WrongMode {
                name: name(),
                expected: 0o600,
                found: 0o666,
            },
            &["0o600", "0o666", "name that mode"],
        ),
        (
            OpenError::WrongReceiver {
                name: name(),
                expected: 1000,
                found: 1001,
            },
            &["1000", "1001", "not handed over", "name that user"],
        ),
        (
            OpenError::NeedsHandOver { name: name() },
            &["may not open it", "handed over once more"],
        ),
    ]
}

fn numbers() -> Vec<(OpenError, &'static [&'static str])> {
    vec![
        (
            OpenError::Unsupported {
                name: name(),
                property: "features",
                expected: 1,
                found: 0x40,
            },
            &["features", "0x1", "0x40", "use the version that made it"],
        ),
        (
            OpenError::Damaged {
                name: name(),
                field: "record_align",
                expected: 8,
                found: 0x40,
            },
            &["record_align", "0x8", "0x40", "restore it"],
        ),
        (
            OpenError::Corrupt {
                name: name(),
                corruption: corruption(),
            },
            &[
                "record length",
                "4711",
                "0x1000",
                "0xbeef",
                "make a new ring",
            ],
        ),
        (
            OpenError::WrongOwner {
                name: name(),
                expected: 1000,
                found: 1001,
            },
            &["1000", "1001", "name the owner"],
        ),
        (
            OpenError::NoSpace {
                name: name(),
                needed_bytes: 36864,
                source: full(),
            },
            &["36864", "No space left", "smaller capacity"],
        ),
        (
            OpenError::Busy {
                name: name(),
                waited_ms: 5000,
            },
            &["5000 ms", "try again"],
        ),
        (
            OpenError::NotServed {
                name: name(),
                why: "a strike",
            },
            &["a strike", "start its server"],
        ),
    ]
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

/// Goal: whoever reads only the text of a refusal knows which ring, what was expected, what was
/// found and what to do next. Method: each variant with values that occur nowhere else.
#[test]
fn refusals_say_it_all() {
    for (error, parts) in refusals() {
        let text = error.to_string();
        assert!(text.starts_with(NAME), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(text, text.trim_end(), "{text:?}");
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text:?}");
        let as_io = io::Error::from(error);
        assert!(as_io.to_string().contains(NAME), "{as_io}");
    }
    let option = OpenError::InvalidOption {
        option: "capacity_bytes",
        found: "5000".to_owned(),
        expected: "a power of two".to_owned(),
    };
    for part in ["capacity_bytes", "5000", "a power of two"] {
        assert!(option.to_string().contains(part), "{option}");
    }
}

/// Goal: what the kernel or the ring said is the source, so that programs can look at it.
#[test]
fn sources_are_kept() {
    for (error, _) in refusals() {
        let has = error.source().is_some();
        let wants = matches!(
            error,
            OpenError::NoSpace { .. } | OpenError::Os { .. } | OpenError::Corrupt { .. }
        );
        assert_eq!(has, wants, "{error:?}");
    }
    assert!(SendError::Corrupt(corruption()).source().is_some());
    assert!(RecvError::Corrupt(corruption()).source().is_some());
    assert!(SendError::Closed.source().is_none());
}

/// Goal: the errors of the hot path carry both numbers, and say what to do.
#[test]
fn messages_say_both_numbers() {
    let (message_bytes, max_bytes, buffer_bytes) = (5001, 4080, 16);
    let too_long = TrySendError::TooLong {
        message_bytes,
        max_bytes,
    };
    let small = TryRecvError::BufferTooSmall {
        message_bytes,
        buffer_bytes,
    };
    let forked = "attach anew";
    for (text, parts) in [
        (too_long.to_string(), ["5001", "4080", "split"]),
        (small.to_string(), ["5001", "16", "larger"]),
        (TrySendError::Full.to_string(), ["full", "wait", "release"]),
        (
            TrySendError::WaitingForCheckpoint.to_string(),
            ["full", "released", "checkpoint"],
        ),
        (
            TrySendError::Poisoned.to_string(),
            ["sync", "failed", "salvage"],
        ),
        (TrySendError::Forked.to_string(), ["fork", "inert", forked]),
        (RecvError::Forked.to_string(), ["fork", "inert", forked]),
        (
            SendError::PeerGone.to_string(),
            ["full", "consumer", "died"],
        ),
        (
            SendError::Closed.to_string(),
            ["full", "consumer", "closed"],
        ),
        (
            RecvError::PeerGone.to_string(),
            ["drained", "producer", "died"],
        ),
        (
            RecvError::Closed.to_string(),
            ["drained", "producer", "closed"],
        ),
        (corruption().to_string(), ["4711", "0x1000", "0xbeef"]),
    ] {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}

/// Goal: a name that is none says what was read, why it is none, and what would be.
#[test]
fn bad_names_say_what_would_be_right() {
    for text in [
        "",
        "shm:",
        "shm:a/b",
        "sysv:",
        "sysv:0",
        "sysv:id:-1",
        "fd:x",
        "unix:",
        "a\0b",
    ] {
        let error = text.parse::<Location>().unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
        assert!(error.contains("shm:NAME"), "{error}");
    }
}
