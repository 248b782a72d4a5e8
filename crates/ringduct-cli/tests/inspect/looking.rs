//! `stat`, `dump`, `verify`: nothing is taken and nothing written.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use ringduct::{Location, Options};
use serde_json::Value;

use crate::{
    CAPACITY, DATA, Holder, MESSAGES, PAGE, RECORD, Used, durable, run, run_badly, run_well, tool,
    wait_until,
};

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// Goal: all three formats say how a ring at rest stands, and who holds one in use.
#[test]
fn stat_of_rings_at_rest_and_in_use() {
    let used = Used::new(false);
    let table = run_well(&["stat", used.name()]);
    for words in [
        "98 messages",
        "sent 100 messages, 2.3 KiB, position 3200",
        "taken 2 messages, 48 B, position 64",
        "closed",
        "attached 1 times",
    ] {
        assert!(table.contains(words), "{words:?} is not in {table}");
    }
    let line = run_well(&["stat", "--format", "json", used.name()]);
    let stat = json(&line);
    assert_eq!(stat["ring"], used.name());
    assert_eq!(
        (&stat["backlog_messages"], &stat["capacity_bytes"]),
        (&98.into(), &CAPACITY.into())
    );
    assert_eq!(stat["producer"]["messages"], MESSAGES);
    assert_eq!(stat["consumer"]["position"], 64);
    assert_eq!(
        (&stat["consumer"]["state"], &stat["consumer"]["holder"]),
        (&"closed".into(), &Value::Null)
    );
    assert_eq!(stat["rates"]["published_messages_per_s"], 0.0);
    assert_eq!(stat["producer"]["durable_position"], Value::Null);

    let holder = Holder::of(used.name());
    let table = run_well(&["stat", used.name()]);
    let who = format!("attached, pid {}, program \"ringduct\"", holder.pid());
    assert!(table.contains(&who) && table.contains("hints"), "{table}");
    let stat = json(&run_well(&["stat", "--format", "json", used.name()]));
    let told = &stat["producer"]["holder"];
    assert_eq!(told["pid"].to_string(), holder.pid());
    assert_eq!(
        (&told["verified"], &told["program"]),
        (&false.into(), &"ringduct".into())
    );
    holder.kill();
    let stat = json(&run_well(&["stat", "--format", "json", used.name()]));
    assert_eq!(stat["producer"]["state"], "gone");
}

/// Goal: what Prometheus reads is an exposition by the letter. Method: each line parsed: a metric is
/// described once, before its samples, which follow each other; labels are quoted and no sample comes
/// twice. A ring whose name has everything in it that must be escaped.
#[test]
fn prometheus_reads_it() {
    let used = Used::new(false);
    let dir = tempfile::tempdir().unwrap();
    let evil = dir.path().join("a \"quoted\\ name\".ring");
    let other = Options::new().create(&Location::from(&*evil)).unwrap();
    let _tx = other.producer().unwrap();
    let page = run_well(&[
        "stat",
        "--format",
        "prometheus",
        used.name(),
        evil.to_str().unwrap(),
    ]);
    let mut seen = Vec::new();
    let mut current = ("", "");
    let mut samples = 0;
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !seen.contains(&name), "{line}");
            seen.push(name);
            current = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current.0);
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            current = (name, kind);
        } else {
            let (name, value) = check_sample(line);
            assert_eq!((name, current.1.is_empty()), (current.0, false), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
            samples += 1;
        }
    }
    println!("{} metrics, {samples} samples", seen.len());
    assert!(seen.len() >= 15 && samples >= 45);
    for line in [
        format!("ringduct_backlog_messages{{ring=\"{}\"}} 98", used.name()),
        format!(
            "ringduct_messages_total{{ring=\"{}\",role=\"producer\"}} 100",
            used.name()
        ),
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in {page}"
        );
    }
    assert!(page.contains("a \\\"quoted\\\\ name\\\".ring"), "{page}");
    let refused = run(&[
        "stat",
        "--format",
        "prometheus",
        "--watch",
        "1s",
        used.name(),
    ]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

/// Name and value of a sample whose labels are quoted as they must be.
fn check_sample(line: &str) -> (&str, &str) {
    let (name, rest) = line.split_once('{').unwrap();
    assert!(
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "{line}"
    );
    let mut rest = rest;
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(
            label.bytes().all(|byte| byte.is_ascii_lowercase()),
            "{line}"
        );
        let mut escaped = false;
        let end = after.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        let (_, quoted) = after.split_at(end.unwrap());
        let after = quoted.strip_prefix('"').unwrap();
        if let Some(next) = after.strip_prefix(',') {
            rest = next;
        } else {
            return (name, after.strip_prefix("} ").unwrap());
        }
    }
}

/// Goal: `--watch` goes on beside a pair that works, with its rates, until it is told to end.
#[test]
fn stat_watches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.ring");
    let ring = Options::new().create(&Location::from(&*path)).unwrap();
    let (running, stop) = mpsc::channel::<()>();
    let pair = thread::spawn(move || {
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        while stop.try_recv() == Err(TryRecvError::Empty) {
            tx.send(&[7; 64]).unwrap();
            rx.recv(&mut [0; 64]).unwrap();
        }
    });
    let mut command = tool();
    let name = path.to_str().unwrap();
    command.args(["stat", "--watch", "100ms", "--format", "json", name]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut before = 0;
    for line in lines.take(4) {
        let stat = json(&line.unwrap());
        let messages = stat["producer"]["messages"].as_u64().unwrap();
        assert!(messages > before, "{stat}");
        before = messages;
        assert!(
            stat["rates"]["published_bytes_per_s"].as_f64().unwrap() > 0.0,
            "{stat}"
        );
        assert_eq!(stat["consumer"]["state"], "attached");
    }
    // Nobody reads any more, which is no failure.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(running);
    pair.join().unwrap();
}

/// Goal: one ring that can not be shown keeps no other from being shown; the exit code tells.
#[test]
fn stat_names_what_it_can_not_show() {
    let used = Used::new(false);
    let missing = used.path.with_file_name("missing.ring");
    let ended = run_badly(
        &["stat", missing.to_str().unwrap(), used.name()],
        1,
        &["missing.ring: there is no such ring", "next: "],
    );
    assert!(ended.out.contains("98 messages"), "{ended:?}");
    let other = used.path.with_file_name("text");
    fs::write(&other, "no ring".repeat(1000)).unwrap();
    run_badly(&["stat", other.to_str().unwrap()], 5, &["text"]);
    run_badly(&["dump", other.to_str().unwrap()], 5, &["text"]);
    run_badly(&["verify", other.to_str().unwrap()], 5, &["text"]);
    assert_eq!(run(&["stat"]).code, Some(2));
}

/// Goal: a dump shows header and messages of a ring at rest and in use, as much as was asked for.
#[test]
fn dump_shows_header_and_messages() {
    let used = Used::new(true);
    let check = |expected_messages: usize| {
        let text = run_well(&["dump", used.name()]);
        let (header, messages): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with("# "));
        assert!(header.contains(&"# capacity: 4096 (4.0 KiB)"), "{text}");
        assert_eq!(messages.len(), expected_messages);
        messages[0].to_owned()
    };
    assert_eq!(check(98), "64\t24\tmessage number 000000002");
    let ring = Options::new().open(&Location::from(&*used.path)).unwrap();
    let (_tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    rx.recv(&mut [0; 24]).unwrap();
    assert_eq!(check(97), "96\t24\tmessage number 000000003");

    let from = (50 * RECORD).to_string();
    let two = run_well(&[
        "dump",
        "--from",
        &from,
        "-n",
        "2",
        "--format",
        "hex",
        used.name(),
    ]);
    let two: Vec<_> = two.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(two.len(), 2);
    assert!(
        two[0].starts_with("1600\t24\t6d657373616765206e756d62657220"),
        "{two:?}"
    );

    let lines = run_well(&["dump", "--format", "json", "-n", "1", used.name()]);
    let lines: Vec<_> = lines.lines().map(json).collect();
    assert_eq!(lines[0]["header"]["capacity_bytes"], CAPACITY);
    assert_eq!(lines[0]["header"]["fault"], Value::Null);
    assert_eq!(lines[1]["text"], "message number 000000003");
    assert_eq!(
        (&lines[1]["position"], &lines[1]["next_position"]),
        (&96.into(), &128.into())
    );
    assert_eq!(lines.len(), 2);
    let header = run_well(&["dump", "--header", used.name()]);
    assert!(
        header.lines().all(|line| line.starts_with("# ")),
        "{header}"
    );
}

/// Goal: of a damaged ring everything in front of the damage is shown.
#[test]
fn dump_shows_what_is_left() {
    let used = Used::new(false);
    used.put(DATA + 5 * RECORD, 5000);
    let ended = run_badly(
        &["dump", used.name()],
        5,
        &["record length", "ringduct salvage"],
    );
    let messages = ended.out.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(messages.count(), 3);
    used.put(96, 0); // half of the ring's id
    let ended = run_badly(
        &["dump", "--format", "json", used.name()],
        5,
        &["header checksum"],
    );
    let header = json(&ended.out);
    assert_eq!(header["header"]["fault"]["what"], "header checksum");
}

/// Goal: a sound ring is called so, at rest and in use, and no byte of it changes.
#[test]
fn verify_says_sound() {
    for checksum in [false, true] {
        let used = Used::new(checksum);
        let before = fs::read(&used.path).unwrap();
        let text = run_well(&["verify", used.name()]);
        assert!(text.contains("sound\n  98 whole messages"), "{text}");
        assert_eq!(text.contains("checksums right"), checksum, "{text}");
        assert_eq!(fs::read(&used.path).unwrap(), before);
        let ring = Options::new().open(&Location::from(&*used.path)).unwrap();
        let _rx = ring.consumer().unwrap();
        let text = run_well(&["verify", used.name()]);
        assert!(text.contains("sound") && text.contains("in use"), "{text}");
    }
    let used = Used::new(false);
    let copy = used.path.with_file_name("copy.ring");
    fs::copy(&used.path, &copy).unwrap();
    let text = run_well(&["verify", copy.to_str().unwrap()]);
    assert!(
        text.contains("sound") && text.contains("would be refused"),
        "{text}"
    );
}

/// Goal: each kind of damage is named with its place, and ends with exit code 5. Method: one lie in
/// each field, word and record that has a rule, in a ring longer than a stride of its accounts.
#[test]
fn verify_names_each_kind_of_damage() {
    let (tx, rx, record) = (PAGE, 2 * PAGE, DATA + 5 * RECORD);
    let table: [(bool, u64, u64, &str); 14] = [
        (false, 96, 0, "header checksum at byte 252"),
        (false, 48, 4095, "header checksum at byte 252"),
        (false, tx, 321, "producer's tail at byte 4096"),
        (false, tx, 64 + 2 * CAPACITY, "consumer's head at byte 8192"),
        (false, rx, 65, "consumer's head at byte 8192"),
        (
            false,
            rx,
            3200 + 2 * CAPACITY,
            "consumer's head at byte 8192",
        ),
        (false, tx + 520, 9, "closed session at byte 4616"),
        (false, rx + 552, 3, "fence mode at byte 8744"),
        (false, tx + 544, 1, "recovery generation at byte 8736"),
        (
            false,
            record,
            5000,
            "record length at byte 32928 (position 160)",
        ),
        (
            false,
            record,
            (7 << 32) + 25,
            "reserved bits of a commit word at byte 32928 (position 160)",
        ),
        (
            false,
            DATA + 99 * RECORD,
            1033,
            "end of a record at byte 35936 (position 3168)",
        ),
        (
            true,
            record,
            25,
            "record checksum at byte 32928 (position 160)",
        ),
        (
            true,
            record + 8,
            0,
            "record checksum at byte 32928 (position 160)",
        ),
    ];
    for (checksum, offset, value, place) in table {
        let used = Used::new(checksum);
        used.put(offset, value);
        let ended = run_badly(&["verify", used.name()], 5, &[place, used.name(), "next: "]);
        assert!(ended.out.contains(place), "{ended:?}");
    }
    let used = Used::new(false);
    let file = File::options().write(true).open(&used.path).unwrap();
    file.set_len(DATA).unwrap();
    run_badly(
        &["verify", used.name()],
        5,
        &["size in bytes at byte 32768"],
    );
    file.write_all_at(b"NORINGAT", 0).unwrap();
    run_badly(&["verify", used.name()], 5, &["not a ring"]);
}

/// Goal: of a durable ring the slots are examined too.
#[test]
fn verify_examines_checkpoints() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let Some(name) = durable(dir.path(), 8) else {
        return;
    };
    let file = File::options().write(true).open(&name).unwrap();
    file.write_all_at(&[1], 3 * PAGE + 8).unwrap();
    let text = run_well(&["verify", &name]);
    assert!(text.contains("1 of 4 checkpoint slots"), "{text}");
    file.write_all_at(&[1], 4 * PAGE + 8).unwrap();
    run_badly(&["verify", &name], 5, &["producer's checkpoint slots"]);
}

/// Goal: a ring without a name is looked at through the socket that it is served at.
#[test]
fn served_rings_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut command = tool();
    command
        .args(["serve", "--capacity", "64K", "-u"])
        .arg(&path);
    let mut server = Server(command.stderr(Stdio::null()).spawn().unwrap());
    let name = format!("unix:{}", path.display());
    wait_until("the ring is served", || {
        run(&["stat", &name]).code == Some(0) || server.0.try_wait().unwrap().is_some()
    });
    assert!(run_well(&["stat", &name]).contains("64.0 KiB"));
    assert!(run_well(&["verify", &name]).contains("sound"));
    let header = run_well(&["dump", "--header", &name]);
    assert!(header.contains("# capacity: 65536"), "{header}");
    run_badly(&["rm", &name], 2, &[&name]);
}

/// Ends when the test does.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.0.kill().is_err();
        let _ended_before = self.0.wait().is_err();
    }
}
