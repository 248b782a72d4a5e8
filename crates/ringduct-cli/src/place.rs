//! Where a ring is, as it is written on the command line, and how one is opened there.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use clap::builder::{OsStringValueParser, TypedValueParser};
use ringduct::{Location, Observer, OpenError, Options, ParseLocationError, Ring};

use crate::failure::Failure;
use crate::{size, talk};

/// The user whose rings are trusted, if not one's own.
static OWNER: OnceLock<u32> = OnceLock::new();

/// From now on rings must belong to this user. The first one named counts.
pub(crate) fn trust(uid: u32) {
    OWNER.get_or_init(|| uid);
}

/// What every ring is opened with: the user it must belong to, and no other wish.
pub(crate) fn options() -> Options {
    by_owner(&Options::new())
}

fn by_owner(options: &Options) -> Options {
    match OWNER.get() {
        Some(uid) => options.clone().owner(*uid),
        None => options.clone(),
    }
}

/// A location that was given on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    location: Location,
}

/// What clap parses a `LOC` with: paths need not be UTF-8.
pub(crate) fn parser() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(|text| Place::parse(&text))
}

impl Place {
    fn parse(text: &OsString) -> Result<Self, ParseLocationError> {
        let location = match text.to_str() {
            Some(text) => text.parse()?,
            None => Location::from(Path::new(text)),
        };
        Ok(Self { location })
    }

    /// The location itself.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Makes a ring; there must be none.
    pub(crate) fn create(&self, options: &Options) -> Result<Ring, Failure> {
        options.create(&self.location).map_err(|error| match error {
            // The only one that does not name the ring.
            OpenError::InvalidOption { .. } => Failure::from(error).of(self),
            error => error.into(),
        })
    }

    /// Opens the ring that is there.
    pub(crate) fn open(&self, options: &Options) -> Result<Ring, OpenError> {
        by_owner(options).open(&self.location)
    }

    /// Looks at the ring that is there, and writes nothing.
    pub(crate) fn observe(&self, options: &Options) -> Result<Observer, Failure> {
        Ok(by_owner(options).observe(&self.location)?)
    }

    /// Whether a ring can be made there by its name alone.
    fn can_be_made(&self) -> bool {
        matches!(
            self.location,
            Location::File(_) | Location::Shm(_) | Location::SysVKey(_)
        )
    }

    /// Opens the ring that is there, or makes one with the defaults and says so.
    pub(crate) fn open_or_create(&self) -> Result<Ring, Failure> {
        let options = options();
        match self.open(&options) {
            Err(OpenError::NotFound { .. }) if self.can_be_made() => {}
            outcome => return Ok(outcome?),
        }
        let ring = options.open_or_create(&self.location)?;
        let capacity = size::show_bytes(ring.capacity_bytes());
        talk::say(format_args!(
            "{self}: there was none; made a ring of {capacity}"
        ));
        Ok(ring)
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { location }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}
