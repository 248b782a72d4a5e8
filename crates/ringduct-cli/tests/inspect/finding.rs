//! `ls` and the search behind it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, id};

use ringduct::{Location, Options, Ring};

use crate::{CAPACITY, Holder, Used, run, run_badly, run_well};

/// Removes what it names in the end, however the test ends.
struct Removed(Ring);

impl Drop for Removed {
    fn drop(&mut self) {
        let _removed_before = self.0.remove().is_err();
    }
}

fn make(location: &Location) -> Removed {
    let options = Options::new().capacity_bytes(CAPACITY);
    Removed(options.create(location).unwrap())
}

/// Goal: rings are found by what they begin with, wherever they are and whatever they are called;
/// links are not followed, a FIFO holds nobody up, and no name steers the terminal.
#[test]
fn ls_finds_rings() {
    let used = Used::new(false);
    let deep = used.dir.path().join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    let odd = deep.join("odd\n\x1b[31m name");
    let _odd = make(&Location::from(&*odd));
    let damaged = used.dir.path().join("a/damaged.ring");
    let mut bytes = fs::read(&used.path).unwrap();
    bytes[100] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    bytes[0] ^= 1;
    fs::write(used.dir.path().join("a/other"), &bytes).unwrap();
    fs::write(used.dir.path().join("a/short"), "RINGDUCT").unwrap();
    let elsewhere = Used::new(false);
    symlink(elsewhere.dir.path(), used.dir.path().join("link")).unwrap();
    symlink(&elsewhere.path, used.dir.path().join("link.ring")).unwrap();
    let fifo = Command::new("mkfifo")
        .arg(used.dir.path().join("fifo"))
        .status();
    assert!(fifo.unwrap().success());
    let holder = Holder::of(used.name());

    let ended = run(&["ls", used.folder()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let here: Vec<_> = ended
        .out
        .lines()
        .filter(|line| line.contains(used.folder()))
        .collect();
    assert_eq!(here.len(), 3, "{}", ended.out);
    let line = |name: &str| *here.iter().find(|line| line.ends_with(name)).unwrap();
    let text = line("used.ring");
    for words in [
        "4.0 KiB",
        " 98 ",
        "closed",
        &format!("{} ringduct", holder.pid()),
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(line("odd\\n\\u{1b}[31m name").contains("plain"));
    assert!(line("damaged.ring").contains("damaged (header checksum)"));
}

/// Goal: rings in shared memory and System V segments are listed without being asked for, and
/// removed by the names that are shown.
#[test]
fn ls_finds_rings_in_memory() {
    let name = format!("shm:ringduct-ls-{}", id());
    let shm = make(&name.parse().unwrap());
    let [low, high, ..] = id().to_le_bytes();
    let key = i32::from_le_bytes([1, low, high, 0x51]);
    let sysv = make(&Location::SysVKey(key));
    let id_of = |text: &str| {
        let ids = text.lines().filter_map(|line| line.split(' ').next_back());
        let mut ids = ids.filter(|name| name.starts_with("sysv:id:"));
        ids.find(|id| {
            let header = Options::new().header(&id.parse().unwrap());
            header.is_ok_and(|header| header.uuid == sysv.0.uuid())
        })
        .map(str::to_owned)
    };
    let text = run(&["ls"]).out;
    assert!(text.lines().any(|line| line.ends_with(&name)), "{text}");
    let sysv_name = id_of(&text).unwrap();
    let holder = Holder::of(&name);
    run_badly(&["rm", &name], 6, &[&holder.pid()]);
    holder.kill();
    assert_eq!(
        run_well(&["rm", &name, &sysv_name]),
        format!("removed {name}\nremoved {sysv_name}\n")
    );
    let text = run(&["ls"]).out;
    assert!(!text.contains(&name) && id_of(&text).is_none(), "{text}");
    drop((shm, sysv));
}

/// Goal: a folder that is not there is an error; without a terminal `top` shows one table.
#[test]
fn folders_are_asked_for() {
    run_badly(&["ls", "/nowhere/at/all"], 1, &["/nowhere/at/all"]);
    let used = Used::new(false);
    let text = run_well(&["top", used.folder()]);
    let line = text
        .lines()
        .find(|line| line.contains(used.name()))
        .unwrap();
    assert!(line.contains(" 98 ") && line.contains("closed"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
