//! What the kernel has, all of it blocking.

mod pipe;
mod posix_mq;
mod seqpacket;
mod sysv_mq;
mod tcp;

pub(crate) use pipe::Pipe;
pub(crate) use posix_mq::PosixMq;
pub(crate) use seqpacket::Seqpacket;
pub(crate) use sysv_mq::SysvMq;
pub(crate) use tcp::Tcp;

/// The length in a result of the kernel, or the end of both processes.
#[inline]
fn length(result: isize) -> usize {
    usize::try_from(result)
        .unwrap_or_else(|_| rivals_harness::fail(std::io::Error::last_os_error()))
}
