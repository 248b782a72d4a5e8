//! A disk in memory, served over FUSE so that a loop device can be put on it.
#![expect(
    clippy::disallowed_types,
    reason = "the server's thread and the test share the disk, and nothing here is a ring"
)]

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, WriteFlags,
};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use crate::image::{Entry, Pages};

/// Names and attributes never change while a disk is served.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);

const DISK: INodeNo = INodeNo(2);
const MOMENT: INodeNo = INodeNo(3);
const DISK_NAME: &str = "disk.img";
const MOMENT_NAME: &str = "moment";

/// A thing that a disk is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read a part.
    Read,
    /// Write a part.
    Write,
    /// Bring earlier writes to the medium.
    Flush,
}

/// An error that the disk is to answer with.
#[derive(Clone, Debug)]
pub struct Fault {
    /// To which requests.
    pub request: Request,
    /// Where on the disk: a request that touches any of these parts counts. Empty: everywhere.
    pub parts: Vec<Range<u64>>,
    /// So many such requests go well first.
    pub after: u64,
    /// So many fail then.
    pub times: u64,
    /// The number of the error.
    pub errno: i32,
}

impl Fault {
    /// Whether the request that touches `part` fails; counts it if it is one of those.
    fn strikes(&mut self, request: Request, part: &Range<u64>) -> bool {
        let touches = |fault: &Range<u64>| fault.start < part.end && part.start < fault.end;
        let counts = self.request == request
            && self.times > 0
            && (self.parts.is_empty()
                || request == Request::Flush
                || self.parts.iter().any(touches));
        if !counts {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

#[derive(Debug, Default)]
struct State {
    pages: Pages,
    log: Vec<Entry>,
    faults: Vec<Fault>,
    failed: u64,
}

impl State {
    /// The error that this request is to fail with.
    fn error(&mut self, request: Request, part: &Range<u64>) -> Option<Errno> {
        let fault = self
            .faults
            .iter_mut()
            .find_map(|fault| fault.strikes(request, part).then_some(fault.errno))?;
        self.failed += 1;
        Some(Errno::from_i32(fault))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk.
///
/// Let go of everything that uses it first.
#[derive(Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    _session: BackgroundSession,
    directory: TempDir,
}

impl Disk {
    /// Serves a disk that holds what the file `image` holds. Nothing is logged yet.
    ///
    /// # Errors
    /// The image cannot be read, or FUSE is not to be had.
    pub fn serve(image: &Path) -> io::Result<Self> {
        let pages = Pages::load(image)?;
        let directory = tempfile::Builder::new()
            .prefix("kernelcut-disk-")
            .tempdir()?;
        let state = Arc::new(Mutex::new(State {
            pages,
            ..State::default()
        }));
        let server = Server(Arc::clone(&state));
        let session = fuser::spawn_mount(server, directory.path(), &fuser::Config::default())?;
        Ok(Self {
            state,
            _session: session,
            directory,
        })
    }

    /// The file to put a loop device on.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(DISK_NAME)
    }

    /// A file whose first eight bytes, little-endian, are [`Disk::moment`], in step with the disk:
    /// another process can read it to know what its requests came before and after.
    pub fn moment_file(&self) -> PathBuf {
        self.directory.path().join(MOMENT_NAME)
    }

    /// How many entries the log has.
    pub fn moment(&self) -> usize {
        lock(&self.state).log.len()
    }

    /// The disk as it is now.
    pub fn pages(&self) -> Pages {
        lock(&self.state).pages.clone()
    }

    /// Forgets the log, and returns the disk as it is now: what a new log begins with.
    pub fn begin_log(&self) -> Pages {
        let mut state = lock(&self.state);
        state.log.clear();
        state.pages.clone()
    }

    /// The log so far.
    pub fn log(&self) -> Vec<Entry> {
        lock(&self.state).log.clone()
    }

    /// Answers with an error from now on.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// Answers with no more errors, and returns how many there were since this was last asked.
    pub fn heal(&self) -> u64 {
        let mut state = lock(&self.state);
        state.faults.clear();
        std::mem::take(&mut state.failed)
    }

    /// How many requests failed since [`Disk::heal`] was last called.
    pub fn failed(&self) -> u64 {
        lock(&self.state).failed
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The loop device may take a moment more to let go of it; then the server ends too.
        let _gone_with_the_process = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}

/// What answers the kernel.
#[derive(Debug)]
struct Server(Arc<Mutex<State>>);

impl Server {
    fn attributes(&self, number: INodeNo) -> Option<FileAttr> {
        let (kind, size) = match number {
            INodeNo::ROOT => (FileType::Directory, 0),
            DISK => (FileType::RegularFile, lock(&self.0).pages.bytes()),
            MOMENT => (FileType::RegularFile, 8),
            _ => return None,
        };
        let time = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino: number,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = match name.to_str() {
            Some(DISK_NAME) if parent == INodeNo::ROOT => DISK,
            Some(MOMENT_NAME) if parent == INodeNo::ROOT => MOMENT,
            _ => return reply.error(Errno::ENOENT),
        };
        match self.attributes(number) {
            Some(attributes) => reply.entry(&FOR_EVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &fuser::Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&FOR_EVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &fuser::Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match ino {
            MOMENT => FopenFlags::FOPEN_DIRECT_IO, // every read is a question to the server
            _ => FopenFlags::empty(),
        };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &fuser::Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = lock(&self.0);
        if ino == MOMENT {
            let moment = state.log.len() as u64;
            return reply.data(&moment.to_le_bytes());
        }
        let length = u64::from(size);
        if let Some(errno) = state.error(Request::Read, &(offset..offset + length)) {
            return reply.error(errno);
        }
        let mut data = Vec::new();
        state.pages.read(offset, &mut data, length);
        reply.data(&data);
    }

    fn write(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.0);
        let part = offset..offset + data.len() as u64;
        if let Some(errno) = state.error(Request::Write, &part) {
            return reply.error(errno);
        }
        state.pages.write(offset, data);
        state.log.push(Entry::Write {
            offset,
            data: data.into(),
        });
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn flush(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok(); // somebody closes a descriptor: says nothing about the medium
    }

    fn fsync(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = lock(&self.0);
        if let Some(errno) = state.error(Request::Flush, &(0..0)) {
            return reply.error(errno);
        }
        state.log.push(Entry::Flush);
        reply.ok();
    }
}
