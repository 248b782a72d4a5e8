//! What another user plants where anybody may make names: the worst is a refusal.
//!
//! The names are attacked by one user and used by another, neither of them root, in a sticky
//! directory on a mount of its own, with the kernel's own protections of such directories off.
#![expect(
    clippy::print_stderr,
    reason = "says what was done and what was skipped"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use libtest_mimic::{Failed, Trial};
use ringduct::{Grant, Options};
use tempfile::TempDir;

use crate::setup::{segment_of, unique};
use crate::users::{STRANGER, VICTIM, agent_of, as_root, open_to_all, skipped};

/// Tries that a raced-for name is given at most, and successes and refusals that end the race.
const MOST_TRIES: u64 = 200_000;
const ENOUGH: u64 = 50;
const MOST_ROUNDS: usize = 20;

/// Kinds of things that a user can plant.
const PLANTS: [&str; 9] = [
    "empty",
    "junk",
    "ring",
    "shown",
    "symlink",
    "hardlink",
    "fifo",
    "directory",
    "socket",
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let mut trial = |name: &'static str, body: fn(&Field)| {
        trials.push(Trial::test(format!("names::{name}"), move || {
            if let Some(field) = Field::new(name) {
                body(&field);
            }
            Ok::<(), Failed>(())
        }));
    };
    trial("planted_in_a_directory", |field| {
        planted(&field.dir, |name| {
            field.dir.join(name).display().to_string()
        });
    });
    trial("planted_in_shared_memory", |_| {
        planted(Path::new("/dev/shm"), |name| format!("shm:{name}"));
    });
    trial("raced_for_in_a_directory", |field| {
        raced_for(field, &field.dir, |name| {
            field.dir.join(name).display().to_string()
        });
    });
    trial("raced_for_in_shared_memory", |field| {
        raced_for(field, Path::new("/dev/shm"), |name| format!("shm:{name}"));
    });
    trial("bent_ways", bent_ways);
    trial("own_rings_with_wide_rights", own_rings_with_wide_rights);
    trial("devices", devices);
    trial("squatted_segments", |_| squatted_segments());
    trial("squatted_sockets", squatted_sockets);
}

/// Switches of `/proc/sys/fs` that would keep an intruder from planting what is to be refused.
const PROTECTIONS: [&str; 4] = [
    "protected_regular",
    "protected_fifos",
    "protected_symlinks",
    "protected_hardlinks",
];

/// A place to fight over. One at a time: the protections are the whole machine's.
struct Field {
    dir: PathBuf,
    mount: TempDir,
    restore: Vec<(PathBuf, String)>,
    _alone: RwLockWriteGuard<'static, ()>,
}

impl Field {
    /// `None` where the test cannot be run; in CI that is a failure.
    fn new(name: &str) -> Option<Self> {
        static ALONE: RwLock<()> = RwLock::new(());
        if !as_root(name) {
            return None;
        }
        let alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
        let mount = tempfile::tempdir().unwrap();
        let mut field = Self {
            dir: mount.path().join("sticky"),
            mount,
            restore: Vec::new(),
            _alone: alone,
        };
        if !field.switch_protections_off() {
            let why = format!("would switch off {PROTECTIONS:?} for a while, as it does in CI");
            skipped(name, &why);
            return None;
        }
        for protection in PROTECTIONS {
            let path = Path::new("/proc/sys/fs").join(protection);
            let value = fs::read_to_string(&path).unwrap();
            assert_eq!(
                value.trim(),
                "0",
                "{protection} would refuse before the library does"
            );
        }
        open_to_all(field.mount.path());
        fs::create_dir(&field.dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=1777", "ringduct-test"])
            .arg(&field.dir)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            skipped(name, "mounting is not permitted here");
            return None;
        }
        Some(field)
    }

    /// False if one is on and this is not CI, whose machine may be changed for a while.
    fn switch_protections_off(&mut self) -> bool {
        for protection in PROTECTIONS {
            let path = Path::new("/proc/sys/fs").join(protection);
            let value = fs::read_to_string(&path).unwrap();
            if value.trim() == "0" {
                continue;
            }
            if std::env::var_os("CI").is_none() {
                return false;
            }
            fs::write(&path, "0").unwrap();
            self.restore.push((path, value));
        }
        true
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        for (path, value) in &self.restore {
            fs::write(path, value).unwrap();
        }
        // Lazily: processes of a test that failed may still be in it.
        let _gone = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

/// What must not change about something planted, and about what it points to.
fn looks(path: &Path) -> (u64, u32, u32, u64, u64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (
        found.ino(),
        found.mode(),
        found.uid(),
        found.nlink(),
        found.len(),
        found.mtime_nsec(),
    )
}

fn names_in(dir: &Path, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(prefix) || name.starts_with(".ringduct"))
        .collect();
    names.sort();
    names
}

/// The refusals that a planted name may lead to.
fn is_typed(refusal: &str) -> bool {
    [
        "NotARing",
        "WrongOwner",
        "WrongMode",
        "AlreadyExists",
        "NotFound",
    ]
    .iter()
    .any(|kind| refusal.starts_with(kind))
}

/// Goal: whatever another user plants under a name, each call refuses it with a typed error and
/// without waiting, follows nothing, changes nothing, and leaves nothing. Method: every kind of
/// plant, by a second user; links lead to a secret and to another ring of the victim; all five
/// calls; before and after are compared.
fn planted(dir: &Path, place: impl Fn(&str) -> String) {
    let mark = format!("ringduct-plants-{}", unique());
    let (mut victim, mut attacker) = (agent_of(VICTIM), agent_of(STRANGER));
    let (ring, secret, other) = (
        format!("{mark}-ring"),
        format!("{mark}-secret"),
        format!("{mark}-other"),
    );
    let path = |name: &str| dir.join(name);
    victim.ask(&format!("secret {}", path(&secret).display()));
    victim.ask(&format!("create {} 4096 plain", place(&other)));
    let contents = || {
        (
            fs::read(path(&secret)).unwrap(),
            fs::read(path(&other)).unwrap(),
        )
    };
    let before = contents();
    let mut refusals = 0;
    for kind in PLANTS {
        let targets: &[&str] = match kind {
            "symlink" => &[&secret, &other, "ringduct-nowhere", "."],
            "hardlink" => &[&secret, &other],
            _ => &["-"],
        };
        for target in targets {
            let (ring, target) = (path(&ring), path(target));
            attacker.ask(&format!(
                "plant {kind} {} {}",
                ring.display(),
                target.display()
            ));
            let planted = looks(&ring);
            let names = names_in(dir, &mark);
            let place = place(&format!("{mark}-ring"));
            for call in ["open", "observe", "remove-at"] {
                let refused = victim.refused(&format!("{call} {place}"));
                assert!(is_typed(&refused), "{kind} {call}: {refused}");
            }
            let refused = victim.refused(&format!("create {place} 4096 plain"));
            assert!(
                refused.starts_with("AlreadyExists"),
                "{kind} create: {refused}"
            );
            let refused = victim.refused(&format!("open-or-create {place} 4096 plain"));
            assert!(is_typed(&refused), "{kind} open-or-create: {refused}");
            refusals += 5;
            assert_eq!(looks(&ring), planted, "{kind}");
            assert_eq!(names_in(dir, &mark), names, "{kind}");
            assert!(contents() == before, "{kind}: what it leads to has changed");
            // A second name of the victim's file is the victim's to remove.
            let owner = match kind {
                "hardlink" => &mut victim,
                _ => &mut attacker,
            };
            owner.ask(&format!("uproot {}", ring.display()));
        }
    }
    eprintln!("{refusals} refusals");
    assert!(refusals >= 65);
    // The name is free again, and nothing of all that stands in the way.
    victim.ask(&format!("open-or-create {} 4096 plain", place(&ring)));
    victim.ask("remove");
    for name in [&secret, &other] {
        fs::remove_file(path(name)).unwrap();
    }
    assert!(names_in(dir, &mark).is_empty());
}

/// Goal: however the moments fall, a name that another user keeps planting things under, makes
/// and renames, is the victim's own ring or a refusal; what links lead to stays as it was. Method:
/// both at full speed, until all outcomes were seen often enough.
fn raced_for(field: &Field, dir: &Path, place: impl Fn(&str) -> String) {
    let mark = format!("ringduct-race-{}", unique());
    let (mut victim, mut attacker) = (agent_of(VICTIM), agent_of(STRANGER));
    let (ring, secret, stop) = (
        dir.join(format!("{mark}-ring")),
        dir.join(format!("{mark}-secret")),
        field.dir.join("stop"),
    );
    victim.ask(&format!("secret {}", secret.display()));
    let before = fs::read(&secret).unwrap();
    // Made and removed, refused, and plants that stood: a busy machine may let one of the two hardly run.
    let mut seen = [0_u64; 3];
    for _ in 0..MOST_ROUNDS {
        attacker.tell(&format!(
            "plant-until {} {} {} 24301",
            stop.display(),
            ring.display(),
            secret.display()
        ));
        let answer = victim.ask(&format!(
            "race {} {} {MOST_TRIES} {ENOUGH}",
            place(&format!("{mark}-ring")),
            ring.display()
        ));
        fs::write(&stop, "").unwrap();
        let stood = attacker.hear();
        fs::remove_file(&stop).unwrap();
        let (made, refused) = answer.split_once(' ').unwrap();
        for (total, more) in seen.iter_mut().zip([made, refused, &stood]) {
            *total += more.parse::<u64>().unwrap();
        }
        if seen.iter().all(|total| *total >= ENOUGH) {
            break;
        }
    }
    eprintln!("made and removed, refused, plants that stood: {seen:?}");
    assert!(seen.iter().all(|total| *total >= ENOUGH), "{seen:?}");
    assert_eq!(fs::read(&secret).unwrap(), before);
    fs::remove_file(&secret).unwrap();
    // What the attacker could not take away again are second names of the victim's files.
    for name in names_in(dir, &mark) {
        assert_eq!(
            fs::symlink_metadata(dir.join(&name)).unwrap().uid(),
            VICTIM,
            "{name}"
        );
        fs::remove_file(dir.join(&name)).unwrap();
    }
}

/// Goal: a link that another user made where anybody may is not followed on the way to a ring
/// either, wherever it leads and however it is reached; the victim's own links and those of the
/// directory's owner are. Method: links as directories, also behind links of the victim's.
fn bent_ways(field: &Field) {
    let (mut victim, mut attacker) = (agent_of(VICTIM), agent_of(STRANGER));
    let path = |name: &str| field.dir.join(name).display().to_string();
    victim.ask(&format!("directory {}", path("private")));
    victim.ask(&format!("create {} 4096 plain", path("private/ring")));
    for (link, target) in [("app", "private"), ("far", "/tmp"), ("loop", "loop")] {
        attacker.ask(&format!("plant symlink {} {target}", path(link)));
    }
    victim.ask(&format!("plant symlink {} app", path("mine")));
    victim.ask(&format!("plant symlink {} private/../app", path("long")));
    for way in [
        "app",
        "mine",
        "long",
        "private/../app",
        "./app/../app",
        "loop",
    ] {
        for (call, options) in [("open", ""), ("create", " 4096 plain")] {
            let place = path(&format!("{way}/ring"));
            let refused = victim.refused(&format!("{call} {place}{options}"));
            assert!(refused.starts_with("NotARing"), "{way}: {refused}");
            assert!(
                refused.contains("symbolic link of user 65534"),
                "{way}: {refused}"
            );
        }
    }
    let far = path("far/ringduct-never.ring");
    assert!(
        victim
            .refused(&format!("create {far} 4096 plain"))
            .starts_with("NotARing")
    );
    assert!(!Path::new("/tmp/ringduct-never.ring").exists());
    assert_eq!(names_in(&field.dir.join("private"), ""), ["ring"]);

    victim.ask(&format!("plant symlink {} private", path("good")));
    victim.ask(&format!("open {}", path("good/ring")));
    std::os::unix::fs::symlink("private", field.dir.join("roots")).unwrap();
    victim.ask(&format!("open {}", path("roots/ring")));
    victim.ask(&format!("open {}", path("roots/../good//./ring")));
    let around = victim.refused(&format!("open {}", path("good/none/ring")));
    assert!(around.starts_with("NotFound"), "{around}");
    // The victim's own, but it turns in a circle.
    victim.ask(&format!("plant symlink {} circle", path("circle")));
    let around = victim.refused(&format!("open {}", path("circle/ring")));
    assert!(around.contains("Os"), "{around}");
}

/// Goal: a ring that others may write to is not trusted, though its owner is the right one, unless
/// its mode was named; the same of a segment. Method: change the rights of the victim's rings.
fn own_rings_with_wide_rights(field: &Field) {
    let mut victim = agent_of(VICTIM);
    let name = format!("ringduct-wide-{}", unique());
    let key = format!("sysv:{:#x}", unique());
    let places = [
        (
            field.dir.join("wide").display().to_string(),
            Some(field.dir.join("wide")),
        ),
        (
            format!("shm:{name}"),
            Some(Path::new("/dev/shm").join(&name)),
        ),
        (key, None),
    ];
    for (place, path) in places {
        victim.ask(&format!("create-mode 640 {place}"));
        victim.ask(&format!("open {place}")); // that others may read it is its owner's business
        victim.ask("remove");
        for mode in ["666", "606", "660", "602", "620"] {
            victim.ask(&format!("create-mode {mode} {place}"));
            if let Some(path) = &path {
                let found = fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(format!("{:o}", found & 0o7777), mode);
            }
            for call in ["open", "observe"] {
                let refused = victim.refused(&format!("{call} {place}"));
                assert!(refused.starts_with("WrongMode"), "{mode} {call}: {refused}");
            }
            let narrow = victim.refused(&format!("open-mode 644 {place}"));
            assert!(narrow.starts_with("WrongMode"), "{mode}: {narrow}");
            victim.ask(&format!("open-mode {mode} {place}"));
            victim.ask(&format!("open-mode 666 {place}"));
            victim.ask("remove");
        }
    }
}

/// Goal: a device under the name of a ring is refused, even with the right owner. Method: root
/// makes one that reads as zeros, and gives it to the victim.
fn devices(field: &Field) {
    let mut victim = agent_of(VICTIM);
    let path = field.dir.join("zeros");
    let made = Command::new("mknod")
        .arg(&path)
        .args(["c", "1", "5"])
        .status();
    assert!(made.unwrap().success());
    std::os::unix::fs::chown(&path, Some(VICTIM), None).unwrap();
    for call in ["open", "observe"] {
        let refused = victim.refused(&format!("{call} {}", path.display()));
        assert!(refused.contains("a character device"), "{refused}");
    }
}

/// Goal: a key that another user took first is a refusal, and so is a companion file of another
/// user's, before a ring is made and after its own was removed. Method: squat each.
fn squatted_segments() {
    let (mut victim, mut attacker) = (agent_of(VICTIM), agent_of(STRANGER));
    let key = unique();
    let place = format!("sysv:{key:#x}");
    attacker.ask(&format!("create-mode 666 {place}"));
    for (call, why) in [
        (format!("open {place}"), "WrongOwner"),
        (format!("observe {place}"), "WrongOwner"),
        (format!("create {place} 4096 plain"), "AlreadyExists"),
        (format!("open-or-create {place} 4096 plain"), "WrongOwner"),
    ] {
        let refused = victim.refused(&call);
        assert!(refused.starts_with(why), "{call}: {refused}");
    }
    attacker.ask("remove");

    victim.ask(&format!("create {place} 4096 plain"));
    let id = segment_of(key).unwrap();
    let companion = format!("/dev/shm/ringduct-sysv-{id}");
    fs::remove_file(&companion).unwrap(); // by root: an accident, or a cleaner
    for kind in ["empty", "fifo", "symlink", "directory"] {
        attacker.ask(&format!("plant {kind} {companion} /etc/passwd"));
        for call in ["open", "observe"] {
            let refused = victim.refused(&format!("{call} {place}"));
            let typed = refused.starts_with("NotARing") || refused.starts_with("WrongOwner");
            assert!(typed, "{kind}: {refused}");
        }
        attacker.ask(&format!("uproot {companion}"));
    }
    let removed = Command::new("ipcrm").args(["-m", &id.to_string()]).status();
    assert!(removed.unwrap().success());

    // The ids that come next: the ring gets another one, or there is a refusal.
    let planted: Vec<String> = (1..=4)
        .map(|step| format!("/dev/shm/ringduct-sysv-{}", id + step))
        .filter(|path| !Path::new(path).exists())
        .collect();
    for path in &planted {
        attacker.ask(&format!("plant empty {path} -"));
    }
    victim.ask(&format!("create {place} 4096 plain"));
    let id = segment_of(key).unwrap();
    assert!(!planted.contains(&format!("/dev/shm/ringduct-sysv-{id}")));
    victim.ask(&format!("open {place}"));
    victim.ask("remove");
    for path in &planted {
        attacker.ask(&format!("uproot {path}")); // which are still the attacker's
    }
}

/// Goal: whoever listens under the name of a socket that was meant for another user neither gets a
/// ring nor gets one in. Method: the attacker listens; the victim comes to receive, and to give.
fn squatted_sockets(field: &Field) {
    let mut attacker = agent_of(STRANGER);
    let path = field.dir.join("socket");
    attacker.ask(&format!("listen {}", path.display()));
    let mut victim = agent_of(VICTIM);
    let refused = victim.refused(&format!("receive-at {}", path.display()));
    assert!(refused.starts_with("WrongOwner"), "{refused}");
    assert!(refused.contains("65534"), "{refused}");
    let ring = Options::new().create_memfd("meant for root").unwrap();
    let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    for grant in [Grant::ReadWrite, Grant::ReadOnly] {
        let refused = ring.hand_over(&stream, grant).unwrap_err().to_string();
        assert!(
            refused.contains("user 65534 is at the other end"),
            "{refused}"
        );
    }
}
