//! Who notices that a traced victim hangs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A call that does not end within this time hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills a victim when nobody has ticked for long: whoever waits for it then sees that it is gone.
#[derive(Debug)]
pub(crate) struct Watchdog(Sender<()>);

impl Watchdog {
    pub(crate) fn new(pid: i32) -> Self {
        let (ticks, inbox) = channel();
        std::thread::spawn(move || {
            loop {
                match inbox.recv_timeout(PATIENCE) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
                        return;
                    }
                }
            }
        });
        Self(ticks)
    }

    /// Things go on.
    pub(crate) fn tick(&self) {
        let _gone = self.0.send(());
    }
}
