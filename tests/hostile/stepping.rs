//! A lie between any two instructions of a call.
//!
//! The victim is run one instruction at a time. At a boundary every word that the call reads is
//! replaced by every value of the dictionary, the call runs to its end, and everything is put back:
//! registers, private memory, the ring. So every moment at which another processor could have
//! changed a word is met, with the code that the compiler made: a value that is read twice, bounded
//! once and used again shows. At the first boundary the identity and all words of both pages are
//! lied about. The words of a payload are among those that are read: what was checked must be what is returned.
//!
//! Watchpoints tell which instructions access such a word. A lie right in front of one is the same
//! as one anywhere since the access before, so in a call of many instructions (those that allocate,
//! and all in a debug build) the boundaries in between are tried only now and then.

use libtest_mimic::{Failed, Trial};

use crate::calls::{BUFFER, CALLS, CAPACITY, Call, MESSAGE, Outcome};
use crate::counting::{accessing, reads, words_of};
use crate::dictionary::{LIES, Random, lies, seed};
use crate::raw::{DATA, TX_PAGE};
use crate::stage::{Scene, Stage};
use crate::trace::Stop;

/// A call of at most so many instructions is tried at every one of them.
const SHORT_STEPS: u64 = if cfg!(debug_assertions) { 1 } else { 1000 };

/// Of the others' boundaries that are in front of no access one in so many is tried. Another number
/// is set by `RINGDUCT_STRIDE`.
const STRIDE: u64 = if cfg!(debug_assertions) { 1009 } else { 31 };

/// Of the dictionary, one value in so many is used.
const SPARING: usize = if cfg!(debug_assertions) { 9 } else { 1 };

/// What is tried in a debug build, which has ten times as many instructions.
const OF_EACH_KIND: [(&str, &str); 4] = [
    ("consumer", "try_recv"),
    ("consumer", "drain"),
    ("producer", "try_send"),
    ("observer", "peek"),
];

/// Words of a payload are replaced by so many values only, of the last in the dictionary.
const FEW: usize = 2;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for call in CALLS {
        if SPARING > 1 && !OF_EACH_KIND.contains(&(call.role, call.name)) {
            continue;
        }
        for scene in [Scene::Plain, Scene::Checked] {
            let (role, name) = (call.role, call.name);
            let name = format!(
                "lies_at_every_instruction::{role}::{name}::{}",
                scene.name()
            );
            trials.push(Trial::test(name, move || {
                at_every_boundary(&call, scene);
                Ok::<(), Failed>(())
            }));
        }
    }
}

/// What became of the trials.
#[derive(Debug, Default)]
struct Tally {
    boundaries: u64,
    trials: u64,
    done: u64,
    corrupt: u64,
    otherwise: u64,
}

/// A lie: which word, and what is in it instead.
#[derive(Clone, Copy, Debug)]
struct Lie {
    word: usize,
    value: u64,
}

/// Goal: whatever a word of the ring becomes between any two instructions, the call ends with a
/// typed error or with what lies inside the ring, writes no byte beside its buffer, and an end that
/// has found damage says the same again. With checksums it is what was sent, or nothing.
fn at_every_boundary(call: &Call, scene: Scene) {
    let stride = std::env::var("RINGDUCT_STRIDE").map_or(STRIDE, |text| text.parse().unwrap());
    let mut random = Random::new(seed());
    println!("RINGDUCT_SEED={}", seed());
    let mut stage = Stage::new(call.name, call.role, scene);
    let words = words_of(&stage);
    let counts = reads(&mut stage, &words);
    let read: Vec<usize> = words
        .iter()
        .zip(counts)
        .filter_map(|(word, count)| (count > 0).then_some(*word))
        .collect();
    let (accessing, steps) = accessing(&mut stage, &read);
    let mut tally = Tally::default();
    for step in 0..steps {
        let words = if step == 0 { &words } else { &read };
        if steps <= SHORT_STEPS || step % stride == 0 || accessing.contains(&step) {
            at_boundary(&mut stage, call, scene, words, (&mut random, &mut tally));
        }
        match stage.traced.step() {
            Stop::Trap => {}
            // A call that reads the clock may have an instruction more or less.
            Stop::Done => break,
            other => panic!("{other:?} after step {step} of {steps}"),
        }
    }
    let Tally {
        boundaries,
        trials,
        done,
        corrupt,
        otherwise,
    } = tally;
    println!(
        "{} {} {}: {} words read by {} of {steps} instructions; {boundaries} boundaries, {trials} \
         trials: {done} done, {corrupt} damage, {otherwise} otherwise",
        call.role,
        call.name,
        scene.name(),
        read.len(),
        accessing.len()
    );
    assert!(accessing.len() >= 2 && boundaries >= accessing.len() as u64);
    assert!(trials >= 400 && done > 0, "{trials} trials");
    let few = call.role == "observer" || SPARING > 1;
    assert!(corrupt > 0 || few, "no damage was found");
}

fn at_boundary(
    stage: &mut Stage,
    call: &Call,
    scene: Scene,
    words: &[usize],
    (random, tally): (&mut Random, &mut Tally),
) {
    let mut moment = stage.traced.moment();
    let ring = stage.ring.all();
    let board = stage.board.0.all();
    tally.boundaries += 1;
    for word in words {
        let old = stage.ring.load(*word);
        let skipped = if is_payload(stage, *word) {
            LIES - FEW
        } else {
            0
        };
        let values = lies(old, CAPACITY, random);
        let first = skipped.max(random.below(SPARING));
        for value in values.into_iter().skip(first).step_by(SPARING) {
            if value == old {
                continue;
            }
            stage.tick();
            stage.ring.store(*word, value);
            let stop = stage.traced.go_on();
            let lie = Lie { word: *word, value };
            assert_eq!(stop, Stop::Done, "{lie:x?} in place of {old:#x}");
            check(stage, call, scene, lie);
            match stage.board.noted(0) {
                Outcome::Done(_) => tally.done += 1,
                Outcome::Corrupt(_) => tally.corrupt += 1,
                _ => tally.otherwise += 1,
            }
            tally.trials += 1;
            stage.traced.go_back(&mut moment);
            stage.ring.write(0, &ring);
            stage.board.0.write(0, &board);
        }
    }
}

/// Whether a word belongs to the payload of a message that waits.
fn is_payload(stage: &Stage, word: usize) -> bool {
    let mut at = stage.head;
    stage.waiting.iter().any(|message| {
        let words = message.len().div_ceil(8);
        let start = DATA + usize::try_from(at % CAPACITY).unwrap();
        at += 8 * (1 + words as u64);
        (start + 8..start + 8 + 8 * words).contains(&word)
    })
}

fn check(stage: &Stage, call: &Call, scene: Scene, lie: Lie) {
    let first = stage.board.noted(0);
    match first {
        Outcome::None | Outcome::Panic | Outcome::Other => panic!("{lie:x?}: {first:?}"),
        Outcome::Corrupt(_) if call.role != "observer" => {
            assert_eq!(stage.board.noted(1), first, "{lie:x?}: damage is forgotten");
        }
        Outcome::Done(_) if call.role == "producer" => check_sent(stage, call, scene, lie),
        Outcome::Done(length) => {
            let length = usize::try_from(length).unwrap();
            let found = stage.board.received(length);
            if scene == Scene::Checked {
                assert!(was_sent(stage, &found), "{lie:x?}: {found:x?}");
            } else if ["try_recv", "recv_deadline", "peek"].contains(&call.name) {
                assert!(lies_in_ring(stage, &found, lie), "{lie:x?}: {found:x?}");
            }
            return;
        }
        Outcome::Nothing | Outcome::Ended | Outcome::Size | Outcome::Corrupt(_) => {}
    }
    stage.board.received(BUFFER); // nothing around it is written
}

/// Whether these bytes are messages that were sent, one behind the other.
fn was_sent(stage: &Stage, found: &[u8]) -> bool {
    (0..=stage.waiting.len()).any(|from| {
        (from..=stage.waiting.len()).any(|to| stage.waiting[from..to].concat() == found)
    })
}

/// Whether these bytes lie behind the head, before or after the lie.
fn lies_in_ring(stage: &Stage, found: &[u8], lie: Lie) -> bool {
    let before = stage.bytes();
    let start = usize::try_from(stage.head).unwrap() + 8;
    found.iter().enumerate().all(|(index, byte)| {
        let at = DATA + (start + index) % usize::try_from(CAPACITY).unwrap();
        let lied = at.checked_sub(lie.word).filter(|offset| *offset < 8);
        *byte == before[at] || lied.is_some_and(|offset| *byte == lie.value.to_le_bytes()[offset])
    })
}

/// What a producer says that it has published is there, where its tail was.
fn check_sent(stage: &Stage, call: &Call, scene: Scene, lie: Lie) {
    if call.name == "wait_for_room" || lie.word >= DATA {
        return;
    }
    let start = DATA + usize::try_from(stage.tail % CAPACITY).unwrap();
    let commit = stage.ring.load(start);
    let length = MESSAGE.len() as u64;
    assert_eq!(commit & u64::from(u32::MAX), length + 1, "{lie:x?}");
    assert_eq!(commit >> 32 != 0, scene == Scene::Checked, "{lie:x?}");
    let mut found = [0; MESSAGE.len()];
    stage.ring.read(start + 8, &mut found);
    assert_eq!(found, MESSAGE, "{lie:x?}");
    assert!(lie.word == TX_PAGE || stage.ring.load(TX_PAGE) > stage.tail);
}
