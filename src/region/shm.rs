//! POSIX shared memory objects: files under `/dev/shm`, made and opened by the same code.

use std::ffi::OsStr;
use std::path::Path;

use super::names::{Medium, Place};
use super::{Backing, Fill, How, Object, file};
use crate::error::OpenError;
use crate::location::check_shm_name;
use crate::options::CreatePlan;

/// Where Linux keeps them.
const SHM_DIR: &str = "/dev/shm";

pub(super) fn create(
    name: String,
    object: &str,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<Object, OpenError> {
    let place = place(&name, object)?;
    file::create(name, Backing::Shm, place, plan, fill)
}

pub(super) fn open(name: String, object: &str, how: How) -> Result<Object, OpenError> {
    let place = place(&name, object)?;
    file::open(name, Backing::Shm, place, how)
}

/// The place of an object: a name in a directory that really is in memory.
pub(super) fn place(name: &str, object: &str) -> Result<Place, OpenError> {
    // A location can also be built in code, unchecked.
    check_shm_name(object).map_err(|why| OpenError::InvalidOption {
        option: "location",
        found: format!("{name}: {why}"),
        expected: "shm:NAME with 1 to 200 bytes and no slash".to_owned(),
    })?;
    let place = Place::in_dir(name, Path::new(SHM_DIR), OsStr::new(object))?;
    match Medium::of(place.dir()) {
        Ok(Medium::Tmpfs) => Ok(place),
        Ok(_) => Err(OpenError::InvalidOption {
            option: "location",
            found: format!("{name}: /dev/shm is not a tmpfs here"),
            expected: "a machine with a tmpfs at /dev/shm, or the path of a file".to_owned(),
        }),
        Err(errno) => Err(OpenError::os(
            name,
            "ask for the filesystem of /dev/shm",
            errno,
        )),
    }
}
