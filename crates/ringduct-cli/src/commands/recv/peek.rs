//! `--peek`: looks, takes nothing, disturbs nobody.

use std::time::{Duration, Instant};

use ringduct::{Corruption, Observer, Options, Peeked, RecvError};

use super::Args;
use super::printer::Printer;
use crate::failure::{Code, Failure, LOOK_AT_IT};
use crate::pacer::Pacer;
use crate::signals;

/// Between looks for more, with --follow.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Writes what waits in the ring, and with --follow what comes.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let observer = args.place.observe(&Options::new())?;
    let mut printer = Printer::new(args.framing, args.format, observer.capacity_bytes())?;
    let mut pacer = Pacer::new(args.rate);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut position = observer.snapshot().consumer.totals.position;
    let mut since = Instant::now();
    while left > 0 {
        signals::check()?;
        pacer.wait(|| ())?;
        let peeked = next(&observer, &mut position);
        let full = match &peeked {
            Ok(Some(peeked)) => printer.take(&peeked.message).is_break() || args.rate.is_some(),
            _ => true,
        };
        if full {
            printer.flush().map_err(|failure| failure.of(&args.place))?;
        }
        if let Some(peeked) = peeked.map_err(|failure| failure.of(&args.place))? {
            position = peeked.next_position;
            left = left.saturating_sub(1);
            pacer.passed(1);
            since = Instant::now();
        } else if !args.follow {
            return Ok(());
        } else if args
            .timeout
            .is_some_and(|timeout| since.elapsed() >= timeout)
        {
            return Err(Failure::recv(&args.place, RecvError::TimedOut));
        } else {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    printer.flush().map_err(|failure| failure.of(&args.place))?;
    Ok(())
}

/// The message at `position`, or the first one that the consumer has left.
fn next(observer: &Observer, position: &mut u64) -> Result<Option<Peeked>, Failure> {
    loop {
        let peeked = observer.peek(*position).map_err(damaged)?;
        let passed = observer.snapshot().consumer.totals.position;
        if peeked.is_some() || passed <= *position {
            return Ok(peeked);
        }
        *position = passed;
    }
}

fn damaged(corruption: Corruption) -> Failure {
    Failure::new(Code::Damaged, corruption.to_string()).next(LOOK_AT_IT)
}
