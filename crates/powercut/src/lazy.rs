//! All legal images, without building them all: a unit's version is chosen when it is read first.
//!
//! Recovery runs on a file of which some units have several versions. Where it reads such a unit,
//! the search branches; what it never reads is never branched on. The search goes depth first and
//! runs recovery again from the start for every path.

use crate::disk::{Disk, Event};
use crate::image::Versions;
use std::rc::Rc;

/// The units whose versions are not chosen yet, and the path of choices that this run takes.
#[derive(Debug)]
pub struct Undecided {
    versions: Versions,
    shift: u32,
    /// Of each word, whether reading it needs a choice.
    open: Vec<bool>,
    /// Units that were read, and the moment chosen.
    decided: Vec<(u32, u32)>,
    /// Chosen and possible, in the order of reading.
    path: Vec<(usize, usize)>,
    depth: usize,
}

impl Undecided {
    /// Every loose word is open; `path` says what to choose first.
    fn new(versions: Versions, unit_bytes: u32, words: usize, path: Vec<(usize, usize)>) -> Self {
        let mut open = vec![false; words];
        for &word in versions.loose() {
            open[word as usize] = true;
        }
        let shift = unit_bytes.trailing_zeros() - 3;
        Self {
            versions,
            shift,
            open,
            decided: Vec::new(),
            path,
            depth: 0,
        }
    }

    /// A word was stored: it needs no choice to be read, its unit still does.
    pub fn overwritten(&mut self, word: u32) {
        self.open[word as usize] = false;
    }

    /// A word is read: chooses, and tells `set` the values of the unit's words.
    pub fn read(&mut self, word: u32, mut set: impl FnMut(u32, u64)) {
        if !self.open[word as usize] {
            return;
        }
        let unit = word >> self.shift;
        let mates: Vec<u32> = self.mates(unit).collect();
        let times = self.moments(&mates);
        let chosen = self.path.get(self.depth).map_or(0, |step| step.0);
        if self.depth == self.path.len() {
            self.path.push((0, times.len()));
        }
        assert_eq!(
            self.path[self.depth].1,
            times.len(),
            "recovery is not a function of the image"
        );
        self.depth += 1;
        let time = times[chosen];
        self.decided.push((unit, time));
        for word in mates {
            if std::mem::take(&mut self.open[word as usize]) {
                set(word, self.versions.at(word, time));
            }
        }
    }

    /// The loose words of a unit.
    fn mates(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        let shift = self.shift;
        self.versions
            .loose()
            .iter()
            .copied()
            .filter(move |word| word >> shift == unit)
    }

    /// Moments at which these words together differ, newest first.
    fn moments(&self, words: &[u32]) -> Vec<u32> {
        let mut times: Vec<u32> = words
            .iter()
            .flat_map(|&word| self.versions.of(word).iter().map(|at| at.0))
            .collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.dedup();
        let mut kept: Vec<(u32, Vec<u64>)> = Vec::new();
        for time in times {
            let values: Vec<u64> = words
                .iter()
                .map(|&word| self.versions.at(word, time))
                .collect();
            if kept.iter().all(|known| known.1 != values) {
                kept.push((time, values));
            }
        }
        kept.into_iter().map(|known| known.0).collect()
    }

    /// The path to try next, if there is one.
    fn next_path(&self) -> Option<Vec<(usize, usize)>> {
        let mut path = self.path[..self.depth].to_vec();
        while let Some((chosen, of)) = path.pop() {
            if chosen + 1 < of {
                path.push((chosen + 1, of));
                return Some(path);
            }
        }
        None
    }

    /// What the medium may hold given what was read.
    fn narrowed(&self) -> Versions {
        let mut versions = self.versions.clone();
        for &(unit, time) in &self.decided {
            for word in self.mates(unit) {
                versions.decide(word, self.versions.at(word, time));
            }
        }
        versions
    }
}

/// What a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Images judged, each once.
    pub images: u64,
    /// Searches that ran out of budget.
    pub cut_short: u64,
    /// Searches that saw every image.
    pub whole: u64,
}

/// Says whether what recovery makes of the file is right: the number of events of recovery alone.
/// It is told how many cuts are left, so that each boot is another.
pub type Judge<'a> = dyn FnMut(&Rc<Disk>, u32) -> Result<usize, String> + 'a;

/// An exhaustive search.
#[derive(Clone, Copy, Debug)]
pub struct Explorer {
    /// Bytes of a unit.
    pub unit_bytes: u32,
    /// Cuts: 1 is the first alone, 2 also cuts the recovery after it.
    pub depth: u32,
    /// Most images of one cut.
    pub budget: u64,
}

impl Explorer {
    /// Judges all images of `versions`. The disk's words are those of the base and are so again
    /// afterwards.
    ///
    /// # Errors
    /// The first image that is judged wrong, with the path that leads to it.
    pub fn explore(
        &self,
        disk: &Rc<Disk>,
        versions: &Versions,
        judge: &mut Judge<'_>,
    ) -> Result<Search, String> {
        let mut search = Search::default();
        let mut path = Vec::new();
        let mut seen = 0;
        loop {
            disk.set_undecided(Undecided::new(
                versions.clone(),
                self.unit_bytes,
                disk.len(),
                path,
            ));
            let judged = judge(disk, self.depth);
            let log = disk.log().clone();
            let undecided = disk.take_undecided().expect("it was set above");
            disk.rewind();
            for &word in versions.loose() {
                disk.set_word(word, versions.at(word, 0));
            }
            let events = judged.map_err(|wrong| {
                format!(
                    "{wrong}\n  units of {} bytes, path {:?}, units and moments {:?}",
                    self.unit_bytes, undecided.path, undecided.decided
                )
            })?;
            search.images += 1;
            seen += 1;
            if self.depth > 1 {
                let deeper = self.deeper(disk, &undecided, &log[..events], judge)?;
                add(&mut search, deeper);
            }
            match undecided.next_path() {
                None => break search.whole += 1,
                Some(_) if seen >= self.budget => break search.cut_short += 1,
                Some(next) => path = next,
            }
        }
        Ok(search)
    }

    /// Cuts the recovery that just ran, wherever that gives images of its own: between two ends of
    /// syncs the images of an earlier moment are among those of a later one.
    fn deeper(
        &self,
        disk: &Rc<Disk>,
        undecided: &Undecided,
        log: &[Event],
        judge: &mut Judge<'_>,
    ) -> Result<Search, String> {
        let mut search = Search::default();
        let inner = Self {
            depth: self.depth - 1,
            ..*self
        };
        let mut versions = undecided.narrowed();
        versions.new_record();
        let words = u32::try_from(disk.len()).expect("the file is small");
        let before: Vec<u64> = (0..words).map(|word| disk.word(word)).collect();
        for &word in versions.loose() {
            disk.set_word(word, versions.at(word, 0));
        }
        for (number, event) in log.iter().enumerate() {
            if matches!(event, Event::End { ok: true, .. }) {
                let found = inner.explore(disk, &versions, judge);
                add(
                    &mut search,
                    found.map_err(|wrong| format!("{wrong}\n  cut at event {number}"))?,
                );
            }
            versions.step(event);
            for (word, value) in versions.take_settled() {
                disk.set_word(word, value);
            }
        }
        add(&mut search, inner.explore(disk, &versions, judge)?);
        for (word, value) in (0..words).zip(before) {
            disk.set_word(word, value);
        }
        Ok(search)
    }
}

fn add(sum: &mut Search, found: Search) {
    sum.images += found.images;
    sum.cut_short += found.cut_short;
    sum.whole += found.whole;
}

#[cfg(test)]
#[path = "lazy_tests.rs"]
mod tests;
