//! Runs the measurements, round by round, each in processes of its own.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringduct::{OpenError, Options};
use rivals_harness::{Cell, Kind, Output as Measured};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::figures::{Figures, Key};
use super::links;
use super::plan::{OURS, Plan};
use crate::failure::{Code, Failure};
use crate::{signals, talk};

/// What a measurement may take besides what it is meant to last.
const WATCHDOG: Duration = Duration::from_secs(20);

/// Every measurement, interleaved.
pub(super) fn all(plan: &Plan) -> Result<Figures, Failure> {
    let kinds = [Kind::Rtt, Kind::Stream];
    let mut figures = Figures::default();
    let each = plan.transports.len().saturating_mul(plan.sizes.len());
    let each = u64::try_from(each.saturating_mul(kinds.len())).unwrap_or(u64::MAX);
    let progress = progress(each.saturating_mul(u64::from(plan.rounds)));
    for _ in 0..plan.rounds {
        for kind in kinds {
            for bytes in &plan.sizes {
                for transport in &plan.transports {
                    progress.set_message(format!("{transport}, {bytes} bytes"));
                    one(plan, &mut figures, transport, kind, *bytes)?;
                    progress.inc(1);
                }
            }
        }
    }
    progress.finish_and_clear();
    Ok(figures)
}

/// On a terminal only.
fn progress(cells: u64) -> ProgressBar {
    let target = if talk::to_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {msg}");
    let bar = ProgressBar::with_draw_target(Some(cells), target);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn one(
    plan: &Plan,
    figures: &mut Figures,
    transport: &'static str,
    kind: Kind,
    bytes: usize,
) -> Result<(), Failure> {
    if figures.is_skipped(transport, bytes) {
        return Ok(());
    }
    let cell = plan.cell(transport, kind, bytes);
    match measure(&cell, plan.duration) {
        Ok(Ok(measured)) => {
            let key = Key {
                is_stream: kind == Kind::Stream,
                bytes,
                transport,
            };
            figures.add(plan, key, &measured);
            Ok(())
        }
        Ok(Err(why)) => {
            clean_up(&cell);
            if transport == OURS {
                return Err(Failure::new(Code::Other, format!("bench: {why}")));
            }
            talk::say(format_args!(
                "{transport}, {bytes} bytes: not measured: {why}"
            ));
            figures.skip(transport, bytes, why);
            Ok(())
        }
        Err(failure) => {
            clean_up(&cell);
            Err(failure)
        }
    }
}

/// Removes the rings of processes that were killed; the last of them may still be dying.
fn clean_up(cell: &Cell) {
    if !cell.transport.starts_with(OURS) {
        return;
    }
    let deadline = Instant::now().checked_add(Duration::from_secs(2));
    for which in ["there", "back", "stream"] {
        let place = links::place(&cell.spec(which));
        while let Ok(ring) = Options::new().open(&place) {
            let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
            match ring.remove() {
                Err(OpenError::RoleTaken { .. } | OpenError::Busy { .. }) if in_time => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                _ => break,
            }
        }
    }
}

/// Measures one cell; the inner error is what the measuring process says.
fn measure(cell: &Cell, lasts: Duration) -> Result<Result<Measured, String>, Failure> {
    let failed = |error: io::Error| Failure::io("measure in a process of its own", &error);
    let text = serde_json::to_string(cell).map_err(|error| failed(error.into()))?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(["bench", "--worker", &text])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now()
        .checked_add(WATCHDOG)
        .and_then(|at| at.checked_add(lasts.saturating_mul(2)));
    let result = read_result(&mut child, deadline);
    if !matches!(result, Ok(Some(_))) {
        kill_group(&child);
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _partly = stderr.read_to_string(&mut complaint);
    }
    let status = child.wait().map_err(failed)?;
    let Some(text) = result? else {
        return Ok(Err("it did not end in time".to_owned()));
    };
    if !status.success() {
        let complaint = complaint.trim().trim_start_matches("error: ");
        return Ok(Err(if complaint.is_empty() {
            format!("the measuring process ended with {status}")
        } else {
            complaint.to_owned()
        }));
    }
    Ok(serde_json::from_slice(&text).map_err(|error| error.to_string()))
}

/// All that the process writes, or nothing at the deadline.
fn read_result(child: &mut Child, deadline: Option<Instant>) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::io("read a result", &error);
    let mut text = Vec::new();
    let Some(mut stdout) = child.stdout.take() else {
        return Ok(None);
    };
    let limit = Timespec::try_from(signals::MOMENT)
        .map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
    loop {
        signals::check()?;
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(None);
        }
        let mut wanted = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut wanted, Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let mut chunk = [0; 1 << 14];
        match stdout.read(&mut chunk) {
            Ok(0) => return Ok(Some(text)),
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Both sides: the process leads a group of its own, and has not been waited for.
fn kill_group(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}
