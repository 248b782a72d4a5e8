//! Tests of all backings: what is made, what is refused, and what is left behind.
#![expect(unsafe_code, reason = "looks into mapped memory and at what faults")]

mod files;
mod mapping;
mod memory;

use core::sync::atomic::{AtomicI32, Ordering};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::SealFlags;
use tempfile::TempDir;

use super::file::{Draft, OpenDraft, create_from};
use super::*;
use crate::layout::Page;
use crate::options::Options;
use crate::testing::{alone, in_child};

const CAPACITY: u64 = 16384;
/// Both ways of making a file that has no name yet.
const DRAFTS: [OpenDraft; 2] = [
    |place| Draft::unnamed(place),
    |place| Draft::temporary(place),
];
const MARK: u64 = 0x6d61_726b;

fn plan() -> CreatePlan {
    plan_of(&Options::new().capacity_bytes(CAPACITY))
}

fn plan_of(options: &Options) -> CreatePlan {
    let page = kernel_page_bytes();
    options.plan(page, page).unwrap()
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens as an owner that trusts nobody else.
fn open(location: &Location, owner: u32, read_only: bool) -> Result<Object, OpenError> {
    let mode = 0o600;
    super::open(location, Trust { owner, mode }, read_only)
}

fn at(path: &Path) -> Location {
    Location::from(path)
}

/// Names that no other test, and no other run at the same time, uses.
fn unique() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1);
    let process = i32::try_from(std::process::id()).unwrap();
    process
        .wrapping_mul(100)
        .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Stores the mark where a header begins.
#[expect(
    clippy::unnecessary_wraps,
    reason = "has the type of what fills a ring"
)]
fn mark(mapping: &Arc<Mapping>, _origin: Origin) -> Result<(), OpenError> {
    poke(mapping.page(Page::Identity), MARK);
    Ok(())
}

fn fail(_: &Arc<Mapping>, _: Origin) -> Result<(), OpenError> {
    Err(OpenError::NotFound {
        name: "injected".to_owned(),
    })
}

fn poke(address: *mut u8, value: u64) {
    // SAFETY: callers pass aligned addresses inside a writable mapping, or want the fault.
    unsafe {
        address
            .cast::<[u8; 8]>()
            .write_volatile(value.to_le_bytes());
    }
}

fn peek(address: *mut u8) -> u64 {
    // SAFETY: callers pass addresses inside a readable mapping, or want the fault.
    u64::from_le_bytes(unsafe { address.cast::<[u8; 8]>().read_volatile() })
}

/// Whether touching an address in a child that maps `object` itself is a segmentation fault.
fn faults(object: &Object, access: Access, touch: fn(&Mapping)) -> bool {
    faults_with(object, access, Options::new().map_extras(), touch)
}

/// The same, mapped with these options.
fn faults_with(object: &Object, access: Access, extras: MapExtras, touch: fn(&Mapping)) -> bool {
    let shape = plan().shape;
    let code = in_child(|| match object.map(shape, access, extras) {
        Ok(mapping) => {
            touch(&mapping);
            0
        }
        Err(_) => 99,
    });
    assert!(code == 0 || code == 1000 + libc::SIGSEGV, "child: {code}");
    code != 0
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One ring of every backing, removed when it goes away.
struct Rings {
    _dir: TempDir,
    objects: Vec<Object>,
}

impl Rings {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let locations = [
            at(&dir.path().join("ring")),
            Location::Shm(format!("ringduct-test-{}", unique())),
            Location::SysVKey(unique()),
        ];
        let plan = plan();
        let mut objects: Vec<_> = locations
            .iter()
            .map(|location| create(location, &plan, &mut mark).unwrap())
            .collect();
        objects.push(memfd("test", &plan, &mut mark).unwrap());
        objects.push(anonymous(&plan, &mut mark).unwrap());
        Self { _dir: dir, objects }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for object in &self.objects {
            if object.place.is_some() {
                object.unlink().unwrap();
            }
        }
    }
}

/// A ring with a name that outlives the process: removed when this goes away, also by a panic.
struct Removed(Object);

impl core::ops::Deref for Removed {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        // Most tests removed it already, and look at that themselves.
        let _outcome = self.0.unlink();
    }
}

/// A filesystem of its own, unmounted when it goes away.
struct OwnMount(TempDir);

impl OwnMount {
    /// `None` where mounting is not permitted; in CI that is a failure.
    fn new(kind: &str, options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", kind, "-o", options, "ringduct-test"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        eprintln!("skipped: mounting is not permitted here");
        None
    }
}

impl Drop for OwnMount {
    fn drop(&mut self) {
        // Lazily: what another test forks has this one's files open until it executes its program.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        let done = unmounted.is_ok_and(|status| status.success());
        assert!(done || std::thread::panicking(), "unmount");
    }
}

// Ends are used by one thread and made by another.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Mapping>();
    is_shared::<Object>();
    is_shared::<crate::role::Lease>();
};
