//! `ringduct serve`, by the built program: who gets the ring, whose socket is replaced, what is
//! left behind.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ringduct::{Location, OpenError, Options, Ring};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a machine with much else to do; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A user that owns nothing here.
const STRANGER: u32 = 54_321;
/// A user whom some servers admit.
const GUEST: u32 = 54_322;

fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringduct"));
    command.args(args).stdin(Stdio::null());
    command
}

/// A folder that other users can look into.
fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A running server, and what it says.
struct Server {
    child: Child,
    lines: Receiver<String>,
    path: PathBuf,
}

impl Server {
    fn start(path: &Path, more: &[&str]) -> Self {
        let mut server = Self::spawn(path, more);
        server.hears("serving a ring of");
        server
    }

    fn spawn(path: &Path, more: &[&str]) -> Self {
        let mut command = tool(&["serve", "-u", text(path)]);
        let mut child = command
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || stderr.lines().try_for_each(|line| send.send(line.unwrap())));
        let path = path.to_owned();
        Self { child, lines, path }
    }

    /// Waits for a line with this in it.
    fn hears(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("the server never said {part:?}: {error}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    fn open(&self) -> Result<Ring, OpenError> {
        let options = Options::new().attach_timeout(PATIENCE);
        options.open(&Location::Unix(self.path.clone()))
    }

    /// Ends it, and returns the exit code.
    fn end(mut self, signal: Signal) -> i32 {
        self.signal(signal);
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn failed(output: &Output) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// Goal: whoever attaches gets the ring; the server says who did; at SIGTERM and SIGINT the socket
/// is gone and the ring stays with those who have it. Method: both roles from this process.
#[test]
fn a_ring_is_served_and_the_socket_goes_with_its_server() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let dir = tempfile::tempdir().unwrap();
        let mut server =
            Server::start(&dir.path().join("s"), &["--capacity", "100K", "--checksum"]);
        let found = fs::symlink_metadata(&server.path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.mode() & 0o777, 0o600);
        let ring = server.open().unwrap();
        assert_eq!((ring.capacity_bytes(), ring.checksum()), (128 << 10, true));
        let said = server.hears("handed over to");
        assert!(
            said.contains(&format!("pid {}", std::process::id())),
            "{said}"
        );
        assert!(said.contains("user "), "{said}");
        let mut tx = ring.producer().unwrap();
        let mut rx = server.open().unwrap().consumer().unwrap();
        let path = server.path.clone();
        assert_eq!(server.end(signal), code);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left"
        );
        tx.send(b"still there").unwrap();
        assert_eq!(rx.messages().next().unwrap().unwrap(), b"still there");
        let gone = Options::new().open(&Location::Unix(path)).unwrap_err();
        assert!(matches!(gone, OpenError::NotFound { .. }), "{gone}");
    }
}

/// Goal: the socket of a server that was killed is replaced, one of a live server is not, even
/// while that is stopped. Method: SIGKILL, start again, start twice, stop, start.
#[test]
fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut server = Server::start(&path, &[]);
    let first = server.open().unwrap().uuid();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let left = server.open().unwrap_err();
    assert!(matches!(left, OpenError::NotServed { .. }), "{left}");
    let server = Server::start(&path, &[]);
    let second = server.open().unwrap().uuid();
    assert_ne!(first, second, "another server has another ring");
    let inode = fs::symlink_metadata(&path).unwrap().ino();
    for stopped in [false, true] {
        if stopped {
            server.signal(Signal::STOP);
        }
        let mut other = Server::spawn(&path, &[]);
        let said = other.lines.recv_timeout(PATIENCE).unwrap();
        assert!(said.contains("is being served already"), "{said}");
        assert_eq!(other.child.wait().unwrap().code(), Some(1));
    }
    server.signal(Signal::CONT);
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), inode);
    assert_eq!(server.open().unwrap().uuid(), second);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no draft is left"
    );
}

/// Goal: of several servers that find the same dead socket one serves, and the others see that it
/// does. Method: six at once, several times.
#[test]
fn one_of_several_replaces_a_dead_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    for _ in 0..4 {
        let _fresh = fs::remove_file(&path);
        drop(UnixListener::bind(&path).unwrap());
        let mut servers: Vec<_> = (0..6).map(|_| Server::spawn(&path, &[])).collect();
        let mut serving = Vec::new();
        for server in &mut servers {
            let line = server.lines.recv_timeout(PATIENCE).unwrap();
            if line.contains("serving a ring of") {
                serving.push(server.child.id());
                continue;
            }
            assert!(line.contains("is being served already"), "{line}");
            assert_eq!(server.child.wait().unwrap().code(), Some(1));
        }
        assert_eq!(serving.len(), 1, "{serving:?} serve");
        let live = servers
            .iter_mut()
            .find(|server| serving.contains(&server.child.id()));
        let live = live.unwrap();
        live.open().unwrap();
        live.hears("handed over");
    }
}

/// Goal: whatever else is at the path is left as it is. Method: a file, a folder, a link, a path
/// that is too long, a folder that is not there.
#[test]
fn other_things_are_left_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let refused = |what: &str| {
        let (code, said) = failed(&tool(&["serve", "-u", text(&path)]).output().unwrap());
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(what), "{said}");
    };
    fs::write(&path, b"mine").unwrap();
    refused("something else than a socket");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    refused("something else than a socket");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("something else than a socket");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no draft is left"
    );
    let usage = |path: &str| tool(&["serve", "-u", path]).output().unwrap().status.code();
    assert_eq!(usage(&"x".repeat(108)), Some(2));
    assert_eq!(usage(""), Some(2));
    assert_eq!(usage("/nowhere/s"), Some(1));
}

/// Goal: a name that had been made by hand meanwhile is not taken for the server's own at its end.
#[test]
fn the_end_removes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("s"), &[]);
    fs::remove_file(&server.path).unwrap();
    fs::write(&server.path, b"mine").unwrap();
    server.signal(Signal::TERM);
    server.hears("another file by now");
    assert_eq!(server.child.wait().unwrap().code(), Some(143));
    assert_eq!(fs::read(&server.path).unwrap(), b"mine");
}

/// Goal: clients that connect and do nothing hold nobody up. Method: two hundred of them, kept.
#[test]
fn stalled_clients_block_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("s"), &[]);
    let stalled: Vec<_> = (0..200)
        .map(|_| UnixStream::connect(&server.path).unwrap())
        .collect();
    assert!(server.open().unwrap().producer().is_ok());
    let held = fs::read_dir(format!("/proc/{}/fd", server.child.id()))
        .unwrap()
        .count();
    assert!(held < 20, "the server holds {held} descriptors");
    assert_eq!(stalled.len(), 200);
}

/// Whether this can be another user for a moment. Under `CI` it must.
fn can_be_others() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "needs root");
    eprintln!("SKIPPED: needs root to be another user");
    false
}

/// Looks at the ring as another user, with a copy of the program that everybody may run.
fn as_user(uid: u32, dir: &Path, args: &[&str]) -> (i32, String) {
    let program = dir.join("ringduct");
    if !program.exists() {
        // By a process of its own: a child of another test must not have it open for writing.
        let from = env!("CARGO_BIN_EXE_ringduct");
        let copied = Command::new("cp").arg(from).arg(&program).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    let output = command
        .args(args)
        .uid(uid)
        .gid(uid)
        .current_dir("/")
        .output()
        .unwrap();
    let mut said = failed(&output);
    said.1.push_str(&String::from_utf8_lossy(&output.stdout));
    said
}

/// Goal: another user gets the ring when it is admitted and names the server's user, and not
/// otherwise; an observer gets what it can only look at. Method: two other users, each server.
#[test]
fn other_users_are_admitted_by_name_only() {
    if !can_be_others() {
        return;
    }
    let dir = open_folder();
    let path = dir.path().join("s");
    let place = format!("unix:{}", text(&path));
    let own = rustix::process::geteuid().as_raw().to_string();
    let look = |uid, owner: &[&str]| {
        let args = [owner, &["doctor", &place, "--format", "json"]].concat();
        as_user(uid, dir.path(), &args)
    };
    let owner = ["--owner", &own];
    {
        let _server = Server::start(&path, &[]);
        let (code, said) = look(GUEST, &owner);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("Permission denied"), "{said}");
    }
    let guest = GUEST.to_string();
    let mut server = Server::start(&path, &["--allow-uid", &guest]);
    assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o666);
    let (code, said) = look(STRANGER, &owner);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("does not admit this user"), "{said}");
    let refused = server.hears("refused");
    assert!(refused.contains(&format!("user {STRANGER}")), "{refused}");
    let (code, said) = look(GUEST, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("belongs to user {own}")), "{said}");
    let (code, said) = look(GUEST, &owner);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("is a ring"), "{said}");
    let handed = server.hears(&format!("user {GUEST}"));
    assert!(handed.contains("handed over"), "{handed}");
    let (code, said) = as_user(
        GUEST,
        dir.path(),
        &["--owner", &own, "send", &place, "from afar"],
    );
    assert_eq!(code, 0, "{said}");
    let received = tool(&["recv", &place]).output().unwrap();
    assert_eq!(received.stdout, b"from afar\n");
    drop(server);
    let stranger = STRANGER.to_string();
    let more = ["--observer-uid", &guest, "--allow-uid", &stranger];
    let mut server = Server::start(&path, &more);
    let (code, said) = look(GUEST, &owner);
    assert_eq!(code, 0, "{said}");
    server.hears("for looking on");
    let (code, said) = as_user(GUEST, dir.path(), &["--owner", &own, "send", &place, "x"]);
    assert_eq!(code, 1, "{said}");
    let (code, said) = as_user(
        STRANGER,
        dir.path(),
        &["--owner", &own, "send", &place, "x"],
    );
    assert_eq!(code, 0, "{said}");
}

/// Goal: neither side needs to see the other's processes. Method: look from a pid namespace of its
/// own, where the server has the number 0.
#[test]
fn pid_namespaces_do_not_matter() {
    if !can_be_others() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let server = Server::start(&path, &[]);
    let place = format!("unix:{}", text(&path));
    let mut command = Command::new("unshare");
    let program = env!("CARGO_BIN_EXE_ringduct");
    let output = command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            program,
            "doctor",
            &place,
        ])
        .output()
        .unwrap();
    let (code, said) = failed(&output);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code, 0, "{said}{shown}");
    assert!(shown.contains("is a ring"), "{shown}");
    drop(server);
    // And the other way round.
    let mut child = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            program,
            "serve",
            "-u",
        ])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("serving a ring of"));
    Options::new().open(&Location::Unix(path)).unwrap();
    let handed = lines.next().unwrap().unwrap();
    assert!(handed.contains("another pid namespace"), "{handed}");
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), Some(9));
}

/// The lines of a child, as it writes them.
fn lines_of(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.lines().map(Result::unwrap)
}

/// A line for each number.
fn numbered(numbers: RangeInclusive<u64>) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in numbers {
        writeln!(lines, "{number}").unwrap();
    }
    lines
}

fn end(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

/// Goal: a real stream arrives byte by byte, and a program says how a socket without a server gets
/// one. Method: a tar of this tree in a shell pipeline, compared and listed.
#[test]
fn a_tar_stream_goes_through_a_served_ring() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let place = format!("unix:{}", text(&path));
    let (code, said) = failed(&tool(&["recv", &place]).output().unwrap());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ringduct serve -u"), "{said}");
    let _server = Server::start(&path, &["--capacity", "64K"]);
    let script = "set -e; cd \"$1\"
        \"$2\" recv unix:s --framing raw > copy & receiver=$!
        tar cf - -C \"$3\" src tests FORMAT.md | tee original | \"$2\" send unix:s --framing raw
        wait $receiver; cmp original copy; tar tf copy | wc -l";
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", script, "bash", text(dir.path())])
        .args([env!("CARGO_BIN_EXE_ringduct"), root])
        .output()
        .unwrap();
    let (code, said) = failed(&output);
    assert_eq!(code, 0, "{said}");
    let files: u64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let bytes = fs::metadata(dir.path().join("copy")).unwrap().len();
    println!("{files} files, {bytes} bytes");
    assert!(
        files > 100 && bytes > 1 << 20,
        "{files} files, {bytes} bytes"
    );
}

/// Goal: a killed receiver that is started again misses nothing. Method: SIGKILL in the middle of
/// numbered lines; the second begins at or before the first line that the first did not write.
#[test]
fn a_killed_receiver_goes_on() {
    const LINES: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("s"), &["--capacity", "16K"]);
    let place = format!("unix:{}", text(&server.path));
    let mut sender = tool(&["send", "--follow", &place])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sender.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        input.write_all(&numbered(1..=LINES)).unwrap();
    });
    let recv = || {
        tool(&["recv", &place])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut first = recv();
    let mut lines = lines_of(&mut first);
    assert!(lines.by_ref().take(1000).count() == 1000);
    first.kill().unwrap();
    let rest = lines.count();
    end(first);
    // The last of them may be cut.
    let written = 1000 + u64::try_from(rest).unwrap();
    assert!(written < LINES, "it was killed at the end");
    let mut second = recv();
    let numbers: Vec<u64> = lines_of(&mut second)
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(end(second), Some(0));
    assert_eq!(end(sender), Some(0));
    feeder.join().unwrap();
    let from = *numbers.first().unwrap();
    assert!(from <= written + 1, "{from} after {written}");
    assert_eq!(numbers, (from..=LINES).collect::<Vec<_>>());
}

/// Goal: a killed sender is followed by another without loss or doubling, and the receiver stays.
/// Method: SIGKILL once everything it was given has arrived.
#[test]
fn a_killed_sender_is_succeeded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("s"), &[]);
    let place = format!("unix:{}", text(&server.path));
    let recv = ["recv", "--follow", &place];
    let mut receiver = tool(&recv).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = lines_of(&mut receiver);
    let mut next = 1_u64;
    for kills in [true, true, false] {
        let mut sender = tool(&["send", &place])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = sender.stdin.take().unwrap();
        let last = next + 499;
        input.write_all(&numbered(next..=last)).unwrap();
        for expected in next..=last {
            assert_eq!(lines.next().unwrap(), expected.to_string());
        }
        if kills {
            sender.kill().unwrap();
        }
        drop(input);
        assert_eq!(end(sender), if kills { None } else { Some(0) });
        next = last + 1;
    }
    kill_process(pid(&receiver), Signal::TERM).unwrap();
    assert_eq!(lines.next(), None);
    assert_eq!(end(receiver), Some(143));
    assert_eq!(next, 1501);
}
