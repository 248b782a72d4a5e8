//! A case: one ring, a random script, and the power cut at every event of its record.
//!
//! A case has a few rounds. In each, a script runs; then the record is gone through event by
//! event, and at each a number of images is built, recovered and judged; some of these recoveries
//! are cut themselves. At last one image is where the ring's life goes on in the next round.

use crate::disk::{Disk, Event};
use crate::image::{Choice, Versions};
use crate::judge::Judge;
use crate::oracle::Oracle;
use crate::protocol::Protocol;
use crate::random::Random;
use crate::scenario::{Kind, Span, World, Wrong};
use crate::script::Style;
use std::fmt::Write;
use std::rc::Rc;

/// How much a case does.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Scripts, with a cut after each.
    pub rounds: u32,
    /// Steps of each script.
    pub steps: u32,
    /// First cuts judged in each round; cuts within recovery come on top.
    pub images: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            rounds: 4,
            steps: 30,
            images: 1200,
        }
    }
}

/// What cases did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Images recovered and judged.
    pub images: u64,
    /// Cut between the two syncs of a full checkpoint.
    pub between_syncs: u64,
    /// Cut in a one-sync checkpoint, after its slot was stored and before its sync came back.
    pub one_sync: u64,
    /// Cut in a consumer's checkpoint.
    pub consumer_checkpoint: u64,
    /// Cut in a recovery, at any depth.
    pub in_recovery: u64,
    /// Cut in the recovery of a first cut.
    pub second_cut: u64,
    /// And again.
    pub third_cut: u64,
    /// Images with a torn or garbage unit.
    pub damaged: u64,
    /// Recoveries that kept messages that were not acknowledged.
    pub kept_more: u64,
    /// Recoveries that dropped what was published.
    pub dropped: u64,
    /// Recoveries with a ring that had not been around once.
    pub first_lap: u64,
}

impl Tally {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.images += other.images;
        self.between_syncs += other.between_syncs;
        self.one_sync += other.one_sync;
        self.consumer_checkpoint += other.consumer_checkpoint;
        self.in_recovery += other.in_recovery;
        self.second_cut += other.second_cut;
        self.third_cut += other.third_cut;
        self.damaged += other.damaged;
        self.kept_more += other.kept_more;
        self.dropped += other.dropped;
        self.first_lap += other.first_lap;
    }
}

/// A broken promise, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case.
    pub seed: u64,
    /// The image within the case; 0 if it was no image that broke it.
    pub image: u64,
    /// The promise.
    pub wrong: Wrong,
    /// The ring, the script and the image.
    pub story: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            image,
            wrong,
            story,
        } = self;
        write!(f, "--seed {seed} --only {image}: {wrong}\n{story}")
    }
}

/// Runs the case of a seed; with `only`, builds that image alone.
///
/// # Errors
/// The first broken promise.
pub fn run<P: Protocol>(
    protocol: &P,
    seed: u64,
    effort: Effort,
    only: Option<u64>,
) -> Result<Tally, Box<Failure>> {
    let mut random = Random::part(seed, 0);
    let style = Style::any(protocol.largest_capacity(), &mut random);
    let world = World::new(protocol.clone(), style.plan, seed);
    let scratch = Disk::new(style.plan.total_bytes());
    let versions = Versions::new(scratch.len());
    let mut case = Case {
        protocol,
        seed,
        effort,
        only,
        style,
        world,
        scratch,
        versions,
        inner: Versions::new(0),
        tally: Tally {
            cases: 1,
            ..Tally::default()
        },
        undo: Vec::new(),
        picked: Vec::new(),
    };
    case.inner = case.versions.clone();
    for step in style.laps(&case.world, &mut random) {
        case.world
            .run(&step)
            .map_err(|wrong| case.failed(0, wrong, ""))?;
    }
    case.world.settle();
    for _ in 0..effort.rounds {
        case.round(&mut random)?;
    }
    Ok(case.tally)
}

struct Case<'a, P: Protocol> {
    protocol: &'a P,
    seed: u64,
    effort: Effort,
    only: Option<u64>,
    style: Style,
    world: Rc<World<P>>,
    /// Where images are built; between two images it holds what the medium holds at least.
    scratch: Rc<Disk>,
    versions: Versions,
    /// The same for the record of a recovery.
    inner: Versions,
    tally: Tally,
    /// What building images changed, oldest first.
    undo: Vec<(u32, u64)>,
    picked: Vec<(u32, u64)>,
}

impl<P: Protocol> Case<'_, P> {
    #[expect(clippy::unnecessary_box_returns, reason = "large, and seldom made")]
    fn failed(&self, image: u64, wrong: Wrong, what: &str) -> Box<Failure> {
        let script = self.world.book.borrow().script.join("\n  ");
        let story = format!("  {:?}\n  {script}\n  {what}", self.style);
        Box::new(Failure {
            seed: self.seed,
            image,
            wrong,
            story,
        })
    }

    /// A script, all its cuts, and the one that counts.
    fn round(&mut self, random: &mut Random) -> Result<(), Box<Failure>> {
        self.scratch.copy_from(&self.world.disk);
        let mut oracle = self.world.book.borrow().oracle.clone();
        let mut done = 0;
        while done < self.effort.steps {
            for step in self.style.next(&self.world, random) {
                self.world
                    .run(&step)
                    .map_err(|wrong| self.failed(0, wrong, ""))?;
                done += 1;
            }
        }
        let log = self.world.disk.log().clone();
        let facts = self.world.book.borrow().facts.clone();
        let last = if random.one_in(3) {
            log.len()
        } else {
            random.index(log.len() + 1)
        };
        let weights = weights(&log, &self.world.book.borrow().spans);
        let sum = weights.iter().map(|weight| weight.0).sum::<u64>().max(1);
        self.versions.clear();
        let (mut facts, mut owed) = (facts.into_iter().peekable(), 0);
        for (event, &(weight, place)) in weights.iter().enumerate() {
            while let Some((_, fact)) = facts.next_if(|fact| fact.0 as usize <= event) {
                oracle.learn(&fact);
            }
            owed += weight * u64::from(self.effort.images);
            for _ in 0..owed / sum {
                self.image(event, place, &oracle)?;
            }
            owed %= sum;
            if event == last {
                let choice = Choice::any(&self.versions, random);
                choice.image(&self.versions, random, &mut self.picked);
                break;
            }
            if let Some(next) = log.get(event) {
                self.versions.step(next);
            }
            for (word, value) in self.versions.take_settled() {
                self.scratch.set_word(word, value);
            }
        }
        for &(word, value) in &self.picked {
            self.scratch.set_word(word, value);
        }
        self.world.cut(&self.scratch, oracle);
        Ok(())
    }

    /// Builds one image, or a chain of them, and judges what recovery makes of it.
    fn image(&mut self, event: usize, place: Place, oracle: &Oracle) -> Result<(), Box<Failure>> {
        let number = self.tally.images + 1;
        let mut random = Random::part(self.seed, number);
        let skip = self.only.is_some_and(|only| only != number);
        let depth = match random.below(16) {
            0..10 => 1,
            10..14 => 2,
            _ => 3,
        };
        self.count(place, depth);
        if skip {
            return Ok(());
        }
        let mut chain = format!("cut at event {event}");
        let found = self.chain(depth, oracle, &mut random, &mut chain);
        self.scratch.rewind();
        for (word, value) in self.undo.drain(..).rev() {
            self.scratch.set_word(word, value);
        }
        found.map_err(|wrong| self.failed(number, wrong, &chain))
    }

    fn count(&mut self, place: Place, depth: u64) {
        let tally = &mut self.tally;
        tally.images += depth;
        let counter = match place {
            Place::BetweenSyncs => Some(&mut tally.between_syncs),
            Place::OneSync => Some(&mut tally.one_sync),
            Place::Consumer => Some(&mut tally.consumer_checkpoint),
            Place::Recovery => Some(&mut tally.in_recovery),
            Place::Else => None,
        };
        if let Some(counter) = counter {
            *counter += 1;
        }
        tally.in_recovery += depth - 1;
        tally.second_cut += u64::from(depth > 1);
        tally.third_cut += u64::from(depth > 2);
    }

    fn chain(
        &mut self,
        depth: u64,
        oracle: &Oracle,
        random: &mut Random,
        chain: &mut String,
    ) -> Result<(), Wrong> {
        let mut recovered = self.cut_and_judge(None, oracle, random, chain)?;
        for _ in 1..depth {
            let log: Vec<Event> = self.scratch.log()[..recovered].to_vec();
            let cut = place_in_recovery(&log, random);
            write!(chain, "; cut in recovery at event {cut}").expect("a string takes all");
            recovered = self.cut_and_judge(Some(&log[..cut]), oracle, random, chain)?;
        }
        Ok(())
    }

    /// Builds an image of the script's record, or of that of the recovery that just ran.
    fn cut_and_judge(
        &mut self,
        log: Option<&[Event]>,
        oracle: &Oracle,
        random: &mut Random,
        chain: &mut String,
    ) -> Result<usize, Wrong> {
        let versions = if let Some(log) = log {
            self.scratch.rewind();
            self.inner.clear();
            for event in log {
                self.inner.step(event);
                for (word, value) in self.inner.take_settled() {
                    self.undo.push((word, self.scratch.word(word)));
                    self.scratch.set_word(word, value);
                }
            }
            &self.inner
        } else {
            &self.versions
        };
        let choice = Choice::any(versions, random);
        choice.image(versions, random, &mut self.picked);
        if self.only.is_some() {
            write!(chain, "; {choice:?}: {:x?}", self.picked).expect("a string takes all");
        }
        self.tally.damaged += u64::from(choice.damage != crate::image::Damage::None);
        for &(word, value) in &self.picked {
            self.undo.push((word, self.scratch.word(word)));
            self.scratch.set_word(word, value);
        }
        let judge = Judge {
            protocol: self.protocol,
            plan: &self.style.plan,
            oracle,
        };
        let (events, found) = judge.judge(&self.scratch, random)?;
        let (tail, published) = (oracle.relative(found.tail), oracle.tail());
        self.tally.kept_more += u64::from(tail > oracle.acknowledged());
        self.tally.dropped += u64::from(tail < published);
        self.tally.first_lap += u64::from(tail < self.style.plan.capacity_bytes);
        Ok(events)
    }
}

/// Where in a recovery the power goes: most often just before a sync comes back.
fn place_in_recovery(log: &[Event], random: &mut Random) -> usize {
    if random.one_in(3) {
        return random.index(log.len() + 1);
    }
    let ends: Vec<usize> = (0..log.len())
        .filter(|&event| matches!(log[event], Event::End { .. }))
        .chain([log.len()])
        .collect();
    ends[random.index(ends.len())]
}

/// What a cut falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BetweenSyncs,
    OneSync,
    Consumer,
    Recovery,
    Else,
}

/// How often to cut before each event and after the last, and what that falls into.
fn weights(log: &[Event], spans: &[Span]) -> Vec<(u64, Place)> {
    let mut weights = vec![(1, Place::Else); log.len() + 1];
    for (event, weight) in log.iter().zip(&mut weights) {
        if matches!(event, Event::End { ok: true, .. }) {
            weight.0 = 8; // the images of the moments since the last one are among those of this
        }
    }
    weights[log.len()].0 = 8;
    for span in spans {
        weights[span.from as usize].0 += 2;
        let ends: Vec<u32> = (span.from..span.to)
            .filter(|&event| matches!(log[event as usize], Event::End { .. }))
            .collect();
        let (Some(&first), Some(&last)) = (ends.first(), ends.last()) else {
            continue;
        };
        let (from, to, place) = match span.kind {
            Kind::Full => (first + 1, last + 1, Place::BetweenSyncs),
            Kind::OneSync => (span.from + 1, last + 1, Place::OneSync),
            Kind::Consumer => (span.from + 1, last + 1, Place::Consumer),
            Kind::Recovery => (span.from + 1, span.to, Place::Recovery),
            Kind::Other => continue,
        };
        for event in from..to {
            let weight = &mut weights[event as usize];
            *weight = (weight.0 * 2, place);
        }
    }
    weights
}
