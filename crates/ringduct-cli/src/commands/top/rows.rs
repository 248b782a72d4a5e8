//! What is shown: one line for each ring.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringduct::{Observer, Rates, Snapshot};

use crate::failure::Failure;
use crate::inspect::find;
use crate::inspect::{show, side};

/// Searches take no more than this part of the time.
const SEARCH_PART: u32 = 20;

/// The rings that were found, by name.
pub(super) struct Rows {
    rows: BTreeMap<String, Row>,
    next_search: Instant,
}

struct Row {
    id: [u8; 16],
    observer: Observer,
    last: Snapshot,
    rates: Option<Rates>,
}

impl Rows {
    /// Looks for rings.
    pub(super) fn find(dirs: &[PathBuf]) -> Result<Self, Failure> {
        let mut rows = Self {
            rows: BTreeMap::new(),
            next_search: Instant::now(),
        };
        rows.find_again(dirs)?;
        Ok(rows)
    }

    /// Looks for rings again, unless the last search was long and not long ago. What is gone is
    /// forgotten: to look at it would keep its memory.
    pub(super) fn find_again(&mut self, dirs: &[PathBuf]) -> Result<(), Failure> {
        let started = Instant::now();
        if started < self.next_search {
            return Ok(());
        }
        let mut known = std::mem::take(&mut self.rows);
        find::rings(dirs, true, &mut |found| {
            let name = show::name(&found.location.to_string());
            let id = found.header.as_ref().map_or([0; 16], |header| header.uuid);
            let row = match known.remove(&name) {
                Some(row) if row.id == id => Some(row),
                _ => found
                    .options()
                    .observe(&found.location)
                    .ok()
                    .map(|observer| Row {
                        id,
                        last: observer.snapshot(),
                        observer,
                        rates: None,
                    }),
            };
            if let Some(row) = row {
                self.rows.insert(name, row);
            }
            Ok(())
        })?;
        let rest = started.elapsed().saturating_mul(SEARCH_PART);
        self.next_search = Instant::now()
            .checked_add(rest.min(Duration::from_secs(60)))
            .unwrap_or(started);
        Ok(())
    }

    /// Looks at each ring.
    pub(super) fn look(&mut self) {
        for row in self.rows.values_mut() {
            let now = row.observer.snapshot();
            row.rates = Some(now.rates_since(&row.last));
            row.last = now;
        }
    }

    /// All that is known, as lines of text; those that move most come first.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        let speed = |row: &Row| {
            row.rates
                .map_or(0.0, |rates| rates.published_messages_per_s)
        };
        rows.sort_by(|(_, one), (_, other)| speed(other).total_cmp(&speed(one)));
        let is_live =
            |row: &&Row| side::is_held(&row.last.producer) || side::is_held(&row.last.consumer);
        let live = self.rows.values().filter(is_live).count();
        let mut lines = vec![
            format!("ringduct top: {} rings, {live} in use", rows.len()),
            line(
                &["SENT/S", "TAKEN/S", "BYTES/S", "FULL", "MESSAGES", "WAITS"],
                ["PRODUCER", "CONSUMER", "RING"],
            ),
        ];
        lines.extend(rows.into_iter().map(|(name, row)| row.line(name)));
        lines
    }
}

impl Row {
    fn line(&self, name: &str) -> String {
        let Snapshot {
            producer,
            consumer,
            backlog_bytes,
            backlog_messages,
            ..
        } = &self.last;
        let rate = |of: fn(&Rates) -> f64| self.rates.as_ref().map_or(0.0, of);
        let numbers = [
            show::count(rate(|rates| rates.published_messages_per_s)),
            show::count(rate(|rates| rates.released_messages_per_s)),
            show::bytes(rate(|rates| rates.published_bytes_per_s)),
            show::fill(*backlog_bytes, self.observer.capacity_bytes()),
            backlog_messages.to_string(),
            producer.waits.to_string(),
        ];
        let [producer, consumer] = [producer, consumer].map(side::brief);
        let numbers = numbers.each_ref().map(String::as_str);
        line(&numbers, [&producer, &consumer, name])
    }
}

/// Numbers to the right, names to the left.
fn line(numbers: &[&str; 6], [producer, consumer, name]: [&str; 3]) -> String {
    let [sent, taken, bytes, fill, messages, waits] = numbers;
    format!(
        "{sent:>8} {taken:>8} {bytes:>9} {fill:>5} {messages:>9} {waits:>7}  {producer:<16} \
         {consumer:<16} {name}"
    )
}
