//! What is measured: names and sizes.

/// Bytes of a message.
pub(crate) const SIZES: [usize; 8] = [8, 32, 48, 64, 128, 256, 1024, 4096];

/// Bytes of a buffer, for streams.
pub(crate) const RINGS: [usize; 2] = [64 << 10, 1 << 20];

/// Every transport, in the order of measuring.
pub(crate) const TRANSPORTS: [&str; 19] = [
    "ringduct-shm-spin",
    "ringduct-shm-park",
    "ringduct-shm-park-readonly",
    "ringduct-shm-spin-trusted",
    "ringduct-file-spin",
    "rtrb",
    "shaq",
    "tachyon",
    "tachyon-poll",
    "iceoryx2",
    "ringfire",
    "cueue",
    "nexus-logbuf",
    "crossbeam",
    "pipe",
    "unix-seqpacket",
    "posix-mq",
    "sysv-mq",
    "tcp",
];

/// Transports that only live between threads of one process.
pub(crate) const THREADS_ONLY: [&str; 3] = ["rtrb", "nexus-logbuf", "crossbeam"];

/// The same transport as `SAME`, measured a second time.
pub(crate) const AGAIN: &str = "ringduct-shm-park-again";

/// What `AGAIN` is compared with.
pub(crate) const SAME: &str = "ringduct-shm-park";

/// `SAME` with a checksum in every record.
pub(crate) const CHECKSUM: &str = "ringduct-shm-park-checksum";

/// The name of the floors.
pub(crate) const FLOOR: &str = "floor";

/// The floor again, with a pause between looks.
pub(crate) const FLOOR_PAUSE: &str = rivals_harness::floor::WITH_PAUSE;

/// Further transports, with `--full`.
pub(crate) const FULL: [&str; 4] = [
    "ringduct-memfd-spin",
    "ringduct-memfd-park",
    "ringduct-file-park",
    "ringduct-shm-park-trusted",
];
