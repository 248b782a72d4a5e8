//! Opening the ring that somebody serves at a Unix socket.

use std::path::Path;

use crate::attach::Ring;
use crate::error::OpenError;
use crate::handover;
use crate::options::Options;
use crate::region;

impl Options {
    /// Opens the ring at `unix:path`: connects, makes sure that the expected user is at the other
    /// end, and takes what is handed over.
    pub(crate) fn open_served(
        &self,
        name: &str,
        path: &Path,
        read_only: bool,
    ) -> Result<Ring, OpenError> {
        let owner = self.expected_owner();
        let socket = region::connect(name, path, self.attach_timeout_or_default())?;
        handover::check_peer(name, &socket, owner)?;
        region::await_server(name, &socket)?;
        let descriptors = handover::take_descriptors(name, &socket)?;
        let object = region::open_received(name, descriptors, self.trust(), read_only)?;
        Ring::new(object, self)
    }
}

#[cfg(test)]
mod tests;
