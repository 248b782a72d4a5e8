//! File systems on loop devices.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};

use tempfile::TempDir;

use crate::kernel;

/// Tries to get a loop device before somebody else does.
const ATTEMPTS: u32 = 100;

/// Gives this process, and those it will start, mounts of their own.
///
/// Call it while the process has one thread. What is mounted from then on is gone with the last of
/// the processes, and no other process ever sees it.
///
/// # Errors
/// Needs the right to administer the system.
pub fn private_mounts() -> io::Result<()> {
    kernel::own_mount_namespace()?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// A kind of file system, with the way its journal works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// ext4 as it is made by default: metadata in the journal, data before it.
    Ext4,
    /// ext4 with the data in the journal too.
    Ext4DataJournal,
    /// ext4 without a journal: only what was synced is there.
    Ext4NoJournal,
    /// xfs.
    Xfs,
    /// btrfs, which never writes in place.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ext4,
        Self::Ext4DataJournal,
        Self::Ext4NoJournal,
        Self::Xfs,
        Self::Btrfs,
    ];

    /// Whether the kernel can shut it down, as [`LoopFs::cut`] does.
    pub fn can_be_cut(self) -> bool {
        self != Self::Btrfs // from Linux 6.19 on
    }

    /// The same while other processes store into mapped files.
    ///
    /// Not with the data in the journal: there Linux 6.18 runs into a bug of its own
    /// (`jbd2_journal_dirty_metadata` called by `ext4_page_mkwrite` when the journal is gone), and
    /// what was in the kernel then stays for ever.
    pub fn can_be_cut_at_work(self) -> bool {
        self.can_be_cut() && self != Self::Ext4DataJournal
    }

    /// What the kernel calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4DataJournal | Self::Ext4NoJournal => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Bytes of a disk that is big enough and not much more.
    fn disk_bytes(self) -> u64 {
        match self {
            Self::Ext4 | Self::Ext4DataJournal | Self::Ext4NoJournal => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 128 << 20,
        }
    }

    /// The program that makes one, and its arguments.
    fn maker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ext4 | Self::Ext4DataJournal => ("mkfs.ext4", &["-q", "-F"]),
            Self::Ext4NoJournal => ("mkfs.ext4", &["-q", "-F", "-O", "^has_journal"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-m", "single", "-d", "single"]),
        }
    }

    fn mount_data(self) -> Option<&'static CStr> {
        match self {
            Self::Ext4DataJournal => Some(c"data=journal"),
            _ => None,
        }
    }

    /// Makes an empty file system in a new file, which is sparse.
    ///
    /// # Errors
    /// The file cannot be made, or the program that makes file systems is missing or refuses.
    pub fn make(self, image: &Path) -> io::Result<()> {
        File::create_new(image)?.set_len(self.disk_bytes())?;
        let (program, arguments) = self.maker();
        run(Command::new(program).args(arguments).arg(image), &[0])
    }
}

/// Runs a program that must end with one of `codes`.
fn run(command: &mut Command, codes: &[i32]) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output
        .status
        .code()
        .is_some_and(|code| codes.contains(&code))
    {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!(
        "{program}: {}: {said}",
        output.status
    )))
}

/// A loop device over a file. Detaches itself when it is dropped and nothing is mounted from it.
#[derive(Debug)]
struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    fn attach(backing: &Path) -> io::Result<Self> {
        let backing = File::options().read(true).write(true).open(backing)?;
        let control = File::open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS {
            let path = PathBuf::from(format!("/dev/loop{}", kernel::free_loop(&control)?));
            let device = File::options().read(true).write(true).open(&path)?;
            match kernel::attach_loop(&device, &backing) {
                Ok(()) => return Ok(Self { device, path }),
                // Somebody else took it between the two calls.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::BUSY.into())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _gone_later = kernel::detach_loop(&self.device);
    }
}

/// A mounted file system on a loop device.
#[derive(Debug)]
pub struct LoopFs {
    kind: FileSystem,
    /// Before the directory, which holds the mount point and perhaps the image.
    /// None while it is being exchanged.
    device: Option<LoopDevice>,
    image: PathBuf,
    mounted: bool,
    root: PathBuf,
    _directory: TempDir,
}

impl LoopFs {
    /// Makes a file system in a new file below `directory`, and mounts it.
    ///
    /// # Errors
    /// What the kernel or the program that makes file systems says.
    pub fn create(kind: FileSystem, directory: &Path) -> io::Result<Self> {
        let own = tempfile::Builder::new()
            .prefix("kernelcut-")
            .tempdir_in(directory)?;
        let image = own.path().join("disk.img");
        kind.make(&image)?;
        Self::mount_from(kind, &image, own)
    }

    /// Mounts the file system that is in `image`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn over(kind: FileSystem, image: &Path) -> io::Result<Self> {
        let own = tempfile::Builder::new().prefix("kernelcut-").tempdir()?;
        Self::mount_from(kind, image, own)
    }

    fn mount_from(kind: FileSystem, image: &Path, directory: TempDir) -> io::Result<Self> {
        let root = directory.path().join("root");
        std::fs::create_dir(&root)?;
        let device = Some(LoopDevice::attach(image)?);
        let image = image.to_owned();
        let mut made = Self {
            kind,
            device,
            image,
            mounted: false,
            root,
            _directory: directory,
        };
        made.start()?;
        Ok(made)
    }

    /// The root of the file system.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that is the disk.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Cuts the power: whatever has not reached the disk by now never does, and every further
    /// request fails.
    ///
    /// # Errors
    /// The file system does not know how.
    pub fn cut(&self) -> io::Result<()> {
        kernel::shut_down(&File::open(&self.root)?)
    }

    /// Ends the session in which power was cut, and begins the next one.
    ///
    /// # Errors
    /// A file is still open, or the file system cannot be mounted.
    pub fn remount(&mut self) -> io::Result<()> {
        self.unmount()?;
        // What the device's own cache still has of the session must not be found again.
        self.device = None;
        self.device = Some(LoopDevice::attach(&self.image)?);
        self.start()
    }

    fn device(&self) -> io::Result<&Path> {
        let device = self.device.as_ref().ok_or(Errno::NXIO)?;
        Ok(&device.path)
    }

    /// Mounts what may not be in order, as the start of a system does.
    fn start(&mut self) -> io::Result<()> {
        if self.kind == FileSystem::Ext4NoJournal {
            self.check()?;
        }
        let outcome = self.mount();
        let ext4 = matches!(self.kind, FileSystem::Ext4 | FileSystem::Ext4DataJournal);
        if ext4 && outcome.is_err() {
            // The disk may have torn the superblock in two; there is a copy of it elsewhere.
            self.check()?;
            return self.mount();
        }
        outcome
    }

    /// Mends what a journal would have.
    fn check(&self) -> io::Result<()> {
        // 1: something was mended.
        run(
            Command::new("e2fsck").arg("-fy").arg(self.device()?),
            &[0, 1],
        )
    }

    /// Unmounts the file system.
    ///
    /// # Errors
    /// A file is still open.
    pub fn unmount(&mut self) -> io::Result<()> {
        unmount(&self.root, UnmountFlags::empty())?;
        self.mounted = false;
        Ok(())
    }

    /// Mounts the file system again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mount(&mut self) -> io::Result<()> {
        self.mount_with(self.kind.mount_data().unwrap_or_default())
    }

    /// The same with options of its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mount_with(&mut self, options: &CStr) -> io::Result<()> {
        let name = self.kind.name();
        mount(
            self.device()?,
            &self.root,
            name,
            MountFlags::empty(),
            Some(options),
        )?;
        self.mounted = true;
        Ok(())
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        if self.mounted {
            let _gone_with_the_process = unmount(&self.root, UnmountFlags::DETACH);
        }
    }
}
