//! Why a ring could not be made, opened or attached to, in the words of the tool.

use std::io;

use ringduct::{OpenError, Role};

use super::{Code, Failure, LOOK_AT_IT, holder};
use crate::{container, size};

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let what = match &error {
            OpenError::RoleTaken { name, role, holder } => {
                format!("{name}: already has a {role}: {}", holder::describe(holder))
            }
            OpenError::NoSpace {
                name,
                needed_bytes,
                source,
            } => format!(
                "{name}: no room for {} ({source})",
                size::show_bytes(*needed_bytes)
            ),
            OpenError::NotFound { name } => format!("{name}: there is no such ring"),
            OpenError::AlreadyExists { name } => format!("{name}: already exists"),
            other => other.to_string(),
        };
        let failure = Self::new(code(&error), what);
        match next(&error) {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

fn code(error: &OpenError) -> Code {
    match error {
        OpenError::NotARing { .. }
        | OpenError::Damaged { .. }
        | OpenError::Corrupt { .. }
        | OpenError::DataLoss { .. } => Code::Damaged,
        OpenError::RoleTaken { .. } => Code::RoleTaken,
        OpenError::NoSpace { .. } => Code::NoSpace,
        OpenError::InvalidOption { .. } => Code::Usage,
        OpenError::Busy { .. } => Code::TimedOut,
        OpenError::Os { source, .. } if source.kind() == io::ErrorKind::QuotaExceeded => {
            Code::NoSpace
        }
        _ => Code::Other,
    }
}

/// What to do next, where the library's own words do not say it or do not know the tool.
fn next(error: &OpenError) -> Option<String> {
    Some(match error {
        OpenError::NotFound { name } if name.starts_with("sysv:id:") => {
            "`ipcs -m` lists the segments that there are".to_owned()
        }
        OpenError::NotFound { name } => match name.strip_prefix("unix:") {
            Some(socket) => format!("serve a ring there with `ringduct serve -u {socket}`"),
            None => format!("make it with `ringduct create {name}`"),
        },
        OpenError::AlreadyExists { name } => {
            format!("use it as it is, remove it with `ringduct rm {name}`, or choose another name")
        }
        OpenError::RoleTaken { name, role, .. } => {
            let look = match role {
                Role::Consumer => "; `ringduct recv --peek` looks without taking the role",
                _ => "",
            };
            format!(
                "wait until it has left, or end it; `ringduct stat {name}` shows both sides{look}"
            )
        }
        OpenError::Corrupt { .. } => LOOK_AT_IT.to_owned(),
        OpenError::NoSpace { name, .. } if name.starts_with("shm:") => no_space_in_shm(),
        OpenError::NoSpace { .. } => "free some, or choose a smaller --capacity".to_owned(),
        _ => return None,
    })
}

/// Shared memory has a size of its own, which somebody chose.
fn no_space_in_shm() -> String {
    let limit = match container::inside() {
        Some(container) => format!(
            "this is inside a container ({container}): start it with a larger /dev/shm (docker run \
             --shm-size=1g, or an emptyDir of medium Memory in Kubernetes)"
        ),
        None => "make /dev/shm larger (mount -o remount,size=4g /dev/shm)".to_owned(),
    };
    format!("{limit}, free some, or choose a smaller --capacity")
}
