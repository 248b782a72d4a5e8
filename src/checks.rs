//! What is refused when a ring is opened, in the terms of whoever opened it.

use crate::error::OpenError;
use crate::layout::{FORMAT_MAJOR, Features, HeaderFault, Identity, MAGIC};
use crate::region::{self, Backing, FileId, Object};

/// Names what is wrong with a header, in the terms of whoever opened it.
pub(crate) fn refuse(object: &Object, fault: HeaderFault, total_bytes: u64) -> OpenError {
    let name = object.name().to_owned();
    let smallest = region::kernel_page_bytes().saturating_mul(9);
    if object.backing() != Backing::SysV && total_bytes < smallest {
        return OpenError::NotARing {
            name,
            expected: format!("at least {smallest} bytes"),
            found: if total_bytes == 0 {
                "an empty file".into()
            } else {
                format!("{total_bytes} bytes")
            },
        };
    }
    match fault {
        HeaderFault::Unfinished if object.backing() == Backing::SysV => {
            OpenError::Unfinished { name }
        }
        HeaderFault::Unfinished => not_magic(name, 0),
        HeaderFault::Magic { found } => not_magic(name, found),
        HeaderFault::Version { found } => OpenError::Unsupported {
            name,
            property: "format version",
            expected: u64::from(FORMAT_MAJOR),
            found: u64::from(found),
        },
        HeaderFault::Features { found } => OpenError::Unsupported {
            name,
            property: "features",
            expected: Features::KNOWN_INCOMPATIBLE,
            found,
        },
        HeaderFault::KernelPage { expected, found } => OpenError::Unsupported {
            name,
            property: "page size",
            expected,
            found,
        },
        HeaderFault::Checksum { expected, found } => OpenError::Damaged {
            name,
            field: "header checksum",
            expected: u64::from(expected),
            found: u64::from(found),
        },
        HeaderFault::Field {
            field,
            expected,
            found,
            ..
        } => OpenError::Damaged {
            name,
            field,
            expected,
            found,
        },
        HeaderFault::Size { expected, found } => OpenError::Damaged {
            name,
            field: "size in bytes",
            expected,
            found,
        },
    }
}

fn not_magic(name: String, found: u64) -> OpenError {
    let text = |word: u64| word.to_le_bytes().escape_ascii().to_string();
    OpenError::NotARing {
        name,
        expected: format!("{:?} as its first eight bytes", text(MAGIC)),
        found: format!("{:?}", text(found)),
    }
}

/// Features that bar writing bar only those who would write.
pub(crate) fn check_writable(object: &Object, identity: &Identity) -> Result<(), OpenError> {
    let known = Features::KNOWN_READ_ONLY_COMPATIBLE;
    let unknown = identity.features.read_only_compatible & !known;
    if object.is_read_only() || unknown == 0 {
        return Ok(());
    }
    Err(OpenError::Unsupported {
        name: object.name().to_owned(),
        property: "features for writing (an observer may still read)",
        expected: known,
        found: unknown,
    })
}

/// A file that is not the one its creator made is a copy, which may be looked at; a System V ring
/// with another companion file has lost what guards its roles.
pub(crate) fn check_file(object: &Object, identity: &Identity) -> Result<(), OpenError> {
    match check_origin(object, identity) {
        // One that is durable is recovered when a role is taken.
        Err(OpenError::Cold { .. }) if identity.durable() || object.is_read_only() => Ok(()),
        outcome => outcome,
    }
}

/// Refuses whatever is not the file, or has not the companion, that the creator wrote down.
pub(crate) fn check_origin(object: &Object, identity: &Identity) -> Result<(), OpenError> {
    let recorded = FileId {
        device: identity.device,
        inode: identity.inode,
    };
    let found = object.file_id();
    if recorded == found {
        return Ok(());
    }
    let name = object.name().to_owned();
    match object.backing() {
        Backing::File => Err(OpenError::Cold {
            name,
            why: "copied or restored from elsewhere",
        }),
        Backing::SysV => Err(OpenError::Damaged {
            name,
            field: "inode of its lock file under /dev/shm",
            expected: recorded.inode,
            found: found.inode,
        }),
        _ => Ok(()),
    }
}
