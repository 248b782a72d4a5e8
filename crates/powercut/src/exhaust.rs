//! Tiny rings, short scripts, and all images of every moment that has images of its own.

use crate::case::Failure;
use crate::disk::{Disk, Event};
use crate::image::Versions;
use crate::judge::Judge;
use crate::lazy::{Explorer, Search};
use crate::oracle::{Fact, Oracle};
use crate::protocol::Protocol;
use crate::random::Random;
use crate::scenario::World;
use crate::script::{Lengths, Style};
use std::rc::Rc;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Bytes of the ring.
    pub capacity_bytes: u64,
    /// Steps of the script.
    pub steps: u32,
    /// How to search each moment.
    pub explorer: Explorer,
}

/// Runs a script and then searches every moment of its record.
///
/// # Errors
/// The first broken promise.
pub fn run<P: Protocol>(protocol: &P, seed: u64, reach: Reach) -> Result<Search, Box<Failure>> {
    let mut random = Random::part(seed, 0);
    let mut style = Style::any(protocol.largest_capacity(), &mut random);
    style.plan.capacity_bytes = reach.capacity_bytes;
    style.lengths = match random.below(3) {
        0 => Lengths::Same(0),
        1 => Lengths::Same(8),
        _ => Lengths::UpTo(u32::try_from(reach.capacity_bytes / 4).expect("a tiny ring")),
    };
    style.deaths = random.one_in(3);
    style.failures = random.one_in(4);
    let world = World::new(protocol.clone(), style.plan, seed);
    let failed = |world: &World<P>, wrong, at: &str| {
        let script = world.book.borrow().script.join("\n  ");
        let story = format!("  {style:?}\n  {script}\n  {at}");
        Box::new(Failure {
            seed,
            image: 0,
            wrong,
            story,
        })
    };
    for step in style.laps(&world, &mut random) {
        world
            .run(&step)
            .map_err(|wrong| failed(&world, wrong, ""))?;
    }
    world.settle();
    let scratch = Disk::new(style.plan.total_bytes());
    scratch.copy_from(&world.disk);
    let oracle = world.book.borrow().oracle.clone();
    let mut done = 0;
    while done < reach.steps {
        for step in style.next(&world, &mut random) {
            world
                .run(&step)
                .map_err(|wrong| failed(&world, wrong, ""))?;
            done += 1;
        }
    }
    search(protocol, &world, &scratch, oracle, (reach, seed))
        .map_err(|(event, wrong)| failed(&world, wrong, &format!("cut at event {event}")))
}

/// Goes through the record and searches where a later moment has not all images of this one, or
/// not the same promises.
fn search<P: Protocol>(
    protocol: &P,
    world: &World<P>,
    scratch: &Rc<Disk>,
    mut oracle: Oracle,
    (reach, seed): (Reach, u64),
) -> Result<Search, (usize, String)> {
    let log = world.disk.log().clone();
    let facts: Vec<(u32, Fact)> = world.book.borrow().facts.clone();
    let mut facts = facts.into_iter().peekable();
    let mut versions = Versions::new(scratch.len());
    let mut sum = Search::default();
    for event in 0..=log.len() {
        let mut own = event == log.len() || matches!(log[event], Event::End { ok: true, .. });
        while let Some((_, fact)) = facts.next_if(|fact| fact.0 as usize <= event) {
            oracle.learn(&fact);
        }
        own |= facts
            .peek()
            .is_some_and(|fact| fact.0 as usize == event + 1);
        if own {
            let judge = Judge {
                protocol,
                plan: &world.plan,
                oracle: &oracle,
            };
            let found = reach
                .explorer
                .explore(scratch, &versions, &mut |disk, depth| {
                    let part = (event as u64) << 8 | u64::from(depth);
                    judge
                        .judge(disk, &mut Random::part(seed, part))
                        .map(|found| found.0)
                });
            let found = found.map_err(|wrong| (event, wrong))?;
            sum.images += found.images;
            sum.whole += found.whole;
            sum.cut_short += found.cut_short;
        }
        if let Some(next) = log.get(event) {
            versions.step(next);
        }
        for (word, value) in versions.take_settled() {
            scratch.set_word(word, value);
        }
    }
    Ok(sum)
}
