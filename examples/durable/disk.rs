//! A disk whose power can be cut: ext4 in a file, on a loop device.
#![expect(unsafe_code, reason = "libc alone has the ioctl that cuts the power")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;

/// `FS_IOC_SHUTDOWN`: the file system stops at once, as it is on the medium.
const SHUTDOWN: libc::Ioctl = 0x8004_587d;

/// Without writing its journal first.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted image. Dropping it unmounts and removes it; the loop device goes with the mount.
pub(crate) struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
}

impl Disk {
    pub(crate) fn new(folder: &Path) -> Result<Self, Failure> {
        let mount_point = folder.join("disk");
        fs::create_dir(&mount_point)?;
        let disk = Self {
            image: folder.join("disk.img"),
            mount_point,
        };
        File::create_new(&disk.image)?.set_len(64 << 20)?;
        call(
            Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(&disk.image),
        )?;
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    fn mount(&self) -> Result<(), Failure> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop"]);
        call(mount.arg(&self.image).arg(&self.mount_point))
    }

    /// From now on nothing reaches the medium: not what programs write, nor what the kernel has
    /// been told and has not written.
    pub(crate) fn cut_power(&self) -> io::Result<()> {
        let root = File::open(&self.mount_point)?;
        let how = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the call reads one `u32`, which lives long enough.
        let outcome = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        match outcome {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The power is back. Nobody may use the disk.
    pub(crate) fn restart(&self) -> Result<(), Failure> {
        call(Command::new("umount").arg(&self.mount_point))?;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nobody is left to be told. What is still in use goes when that ends.
        if call(Command::new("umount").arg(&self.mount_point)).is_err() {
            drop(call(
                Command::new("umount").arg("-l").arg(&self.mount_point),
            ));
        }
        drop(fs::remove_file(&self.image));
        drop(fs::remove_dir(&self.mount_point));
    }
}

fn call(command: &mut Command) -> Result<(), Failure> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy();
    let errors = String::from_utf8_lossy(&done.stderr);
    Err(format!("{program}: {} {}", done.status, errors.trim()).into())
}
