//! Whether this runs inside a container, as far as the usual marks tell.

use std::env;
use std::path::Path;

/// The kind of container this is in, as the mark that tells so names it.
pub(crate) fn inside() -> Option<String> {
    if let Some(kind) = env::var("container").ok().filter(|kind| !kind.is_empty()) {
        return Some(kind); // systemd-nspawn, podman, LXC
    }
    if env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("kubernetes".to_owned());
    }
    for (mark, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if Path::new(mark).exists() {
            return Some(kind.to_owned());
        }
    }
    None
}
