//! `repair`, `salvage`, `rm`: what is written, and what is not.

use std::fs;

use ringduct::{Location, Options};

use crate::{DATA, Holder, RECORD, Used, durable, run, run_badly, run_well};

/// Goal: nothing is written without `--apply`; with it, what was foretold is what is kept.
#[test]
fn repair_foretells_and_applies() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let Some(name) = durable(dir.path(), 12) else {
        return;
    };
    let text = run_well(&["repair", &name]);
    assert!(
        text.contains("nothing to repair\n  12 messages wait"),
        "{text}"
    );

    let copy = dir.path().join("copy.ring");
    fs::copy(&name, &copy).unwrap(); // cold: its words were written in another file
    let copy_name = copy.to_str().unwrap();
    let before = fs::read(&copy).unwrap();
    let told = run(&["repair", copy_name]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(
        told.out.contains("a recovery would\n  keep 12 messages"),
        "{told:?}"
    );
    assert!(told.err.contains("nothing was written"), "{told:?}");
    assert!(fs::read(&copy).unwrap() == before, "written to");

    let done = run_well(&["repair", "--apply", copy_name]);
    let account = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(account(&done), account(&told.out));
    assert!(done.contains("recovered\n"), "{done}");
    let again = run_well(&["repair", "--apply", copy_name]);
    assert!(
        again.contains("nothing to repair\n  12 messages"),
        "{again}"
    );
    let ring = Options::new().open(&Location::from(&*copy)).unwrap();
    assert_eq!(ring.consumer().unwrap().recovery().kept_messages, 12);
}

/// Goal: a ring in use is not repaired, nor one that is past it; each says why, by its exit code too.
#[test]
fn repair_refuses() {
    let used = Used::new(false);
    let before = fs::read(&used.path).unwrap();
    let text = run_well(&["repair", "--apply", used.name()]);
    assert!(text.contains("nothing to repair\n  98 messages"), "{text}");
    assert!(fs::read(&used.path).unwrap() == before, "written to");
    let holder = Holder::of(used.name());
    for args in [
        &["repair", used.name()][..],
        &["repair", "--apply", used.name()],
    ] {
        run_badly(args, 6, &["somebody uses it", "ringduct stat"]);
    }
    holder.kill();
    let used = Used::new(false);
    used.put(DATA + 5 * RECORD, 5000);
    run_badly(
        &["repair", "--apply", used.name()],
        5,
        &["record length", "salvage"],
    );
    let copy = used.path.with_file_name("copy.ring");
    fs::copy(&used.path, &copy).unwrap();
    used.put(DATA + 5 * RECORD, 25); // as it was
    let sound_copy = used.path.with_file_name("copy2.ring");
    fs::copy(&used.path, &sound_copy).unwrap();
    run_badly(
        &["repair", sound_copy.to_str().unwrap()],
        1,
        &["copy2.ring"],
    );
}

/// Goal: what is whole is copied, from a sound ring, a copy and a damaged one, and the exit code says
/// whether that was all.
#[test]
fn salvage_copies_what_is_whole() {
    let used = Used::new(false);
    let to = |name: &str| used.path.with_file_name(name).to_str().unwrap().to_owned();
    let ended = run(&["salvage", used.name(), &to("all.ring")]);
    assert_eq!((ended.code, &*ended.out), (Some(0), ""), "{ended:?}");
    assert!(ended.err.contains("98 messages"), "{ended:?}");
    let all = run_well(&["dump", &to("all.ring")]);
    assert!(all.contains("64\t24\tmessage number 000000002\n"), "{all}");
    run_badly(
        &["salvage", used.name(), &to("all.ring")],
        1,
        &["all.ring: already exists"],
    );
    let holder = Holder::of(&to("all.ring"));
    assert_eq!(
        run(&["salvage", &to("all.ring"), &to("live.ring")]).code,
        Some(0)
    );
    holder.kill();

    used.put(DATA + 5 * RECORD, 5000);
    run_badly(
        &["salvage", used.name(), &to("part.ring")],
        5,
        &["3 messages", "part.ring", "record length"],
    );
    let text = run_well(&["verify", &to("part.ring")]);
    assert!(text.contains("sound\n  3 whole messages"), "{text}");
}

/// Goal: `rm` removes by name what nobody holds, and only that.
#[test]
fn rm_removes_what_nobody_holds() {
    let (one, two) = (Used::new(false), Used::new(false));
    let holder = Holder::of(one.name());
    let ended = run_badly(
        &["rm", one.name(), two.name()],
        6,
        &[one.name(), &holder.pid()],
    );
    assert_eq!(ended.out, format!("removed {}\n", two.name()));
    assert!(one.path.exists() && !two.path.exists());
    holder.kill();
    run_well(&["rm", one.name()]);
    assert!(!one.path.exists());
    run_badly(&["rm", one.name()], 1, &["there is no such ring"]);
    let text = one.path.with_file_name("text");
    fs::write(&text, "no ring".repeat(1000)).unwrap();
    run_badly(&["rm", text.to_str().unwrap()], 5, &["text"]);
    assert!(text.exists());
    assert_eq!(run(&["rm"]).code, Some(2));
}

/// Goal: `rm --stale` asks the kernel: a holder keeps its ring, a killed one does not; durable rings
/// and what is no ring stay; and all of it is said.
#[test]
fn rm_stale_asks_the_kernel() {
    let used = Used::new(false);
    let damaged = used.path.with_file_name("damaged.ring");
    fs::copy(&used.path, &damaged).unwrap();
    fs::File::options()
        .write(true)
        .open(&damaged)
        .unwrap()
        .set_len(DATA)
        .unwrap();
    let other = used.path.with_file_name("text");
    fs::write(&other, "no ring".repeat(1000)).unwrap();
    let holder = Holder::of(used.name());
    let text = run_well(&["rm", "--stale", used.folder()]);
    let left = format!(
        "left {}: its producer is there: pid {}",
        used.name(),
        holder.pid()
    );
    assert!(text.contains(&left), "{text}");
    assert!(text.contains("damaged.ring: it was damaged\n"), "{text}");
    assert!(used.path.exists() && other.exists() && !damaged.exists());
    holder.kill();
    let text = run_well(&["rm", "--stale", used.folder()]);
    assert!(
        text.starts_with(&format!("removed {}: ", used.name())),
        "{text}"
    );
    assert!(!used.path.exists() && other.exists());
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    if let Some(name) = durable(dir.path(), 1) {
        let text = run_well(&["rm", "--stale", dir.path().to_str().unwrap()]);
        assert!(
            text.contains("left ") && text.contains(": durable"),
            "{text}"
        );
        run_well(&["rm", &name]);
    }
    run_badly(&["rm", "--stale", "shm:x"], 2, &["takes folders"]);
}
