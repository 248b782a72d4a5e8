//! Recovery of whatever a power cut, a broken disk or somebody hostile left of a durable ring: a
//! typed error that changed nothing, or a ring that holds what it must and nothing else; and
//! whoever recovers again, or after a recovery that was cut itself, finds the same.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::simulator::{Consumer, Form, Machine, Producer, Recovered, Refused};
use ringduct_fuzz::medium::{BEFORE, Harm, Left, Life, Medium, SLOTS};
use ringduct_fuzz::{MOST_STEPS, record_bytes};

#[derive(Arbitrary, Debug)]
struct Input {
    life: Life,
    harm: Vec<Harm>,
    before: Before,
    producer_first: bool,
    cut_after: Option<u16>,
}

/// What came between the ring's life and the attach.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Before {
    PowerCut,
    Remount,
    /// Deaths alone: the words are believed.
    Deaths,
}

impl Before {
    fn machine(self) -> Machine {
        match self {
            Self::PowerCut => another(8),
            Self::Remount => Machine {
                instance: 8,
                ..BEFORE
            },
            Self::Deaths => BEFORE,
        }
    }
}

const fn another(boot: u64) -> Machine {
    Machine {
        boot,
        instance: boot,
    }
}

/// What an attach found, and every message that could be taken then.
#[derive(Debug, PartialEq)]
struct Found {
    head: u64,
    tail: u64,
    messages: Vec<(u64, Vec<u8>)>,
    /// What ended them, if it was not the end.
    damage: Option<Refused>,
}

fuzz_target!(|input: Input| {
    let left = input.life.live();
    let mut words = left.words.clone();
    for harm in input.harm.iter().take(MOST_STEPS) {
        harm.apply(&left, &mut words);
    }
    if (9..14).any(|boot| left.is_of(&words, another(boot))) {
        return; // of a boot that is yet to come
    }
    let machine = input.before.machine();
    let warm = input.before == Before::Deaths || left.is_of(&words, machine);
    let medium = Medium::of(&words);
    let outcome = attach(&left, &medium, machine, input.producer_first);
    let (cold, found) = match outcome {
        Ok((recovered, ends)) => (recovered.cold, take_all(&left, &recovered, ends)),
        Err(refused) => {
            check_refused(&left, &words, &medium, refused, warm);
            return;
        }
    };
    check_inside(&left, &words, &found);
    if !cold {
        return;
    }
    assert_eq!(found.damage, None, "recovered, and damaged");
    if words[SLOTS] == left.words[SLOTS] {
        check_promises(&left, &words, &found);
    }
    // Whoever takes nothing for certain leaves the next recovery the same to find.
    let (again, ends) =
        attach(&left, &medium, another(9), !input.producer_first).expect("recovered once");
    assert!(again.cold);
    assert_eq!(take_all(&left, &again, ends), found);
    if let Some(stores) = input.cut_after {
        let medium = Medium::of(&words);
        medium.die_after(stores.into());
        attach(&left, &medium, another(10), input.producer_first).ok();
        medium.die_after(u64::MAX);
        let (last, ends) = attach(&left, &medium, another(11), input.producer_first)
            .expect("a cut in a recovery changes nothing");
        if last.cold {
            assert_eq!(take_all(&left, &last, ends), found);
        }
    }
    go_on(&left, &medium);
});

type Ends = (Producer<Medium>, Consumer<Medium>);

/// Attaches both ends; what the first one found.
fn attach(
    left: &Left,
    medium: &Medium,
    machine: Machine,
    producer_first: bool,
) -> Result<(Recovered, Ends), Refused> {
    let before = medium.work();
    let producer = |live| Producer::attach(medium.clone(), &left.plan, machine, live);
    let consumer = |live| Consumer::attach(medium.clone(), &left.plan, machine, live);
    let outcome = if producer_first {
        producer(false).and_then(|(tx, found)| Ok((found, (tx, consumer(true)?.0))))
    } else {
        consumer(false).and_then(|(rx, found)| Ok((found, (producer(true)?.0, rx))))
    };
    // A few walks over the ring, and the slots.
    let after = medium.work();
    let bound = 16 * left.words.len() as u64;
    assert!(after.0 - before.0 < bound, "{} loads", after.0 - before.0);
    assert!(after.1 - before.1 < bound, "{} stores", after.1 - before.1);
    outcome
}

fn take_all(left: &Left, recovered: &Recovered, (_tx, mut rx): Ends) -> Found {
    let mut found = Found {
        head: recovered.head,
        tail: recovered.tail,
        messages: Vec::new(),
        damage: None,
    };
    let most = left.plan.capacity_bytes / 8;
    let mut out = Vec::new();
    loop {
        match rx.try_recv(&mut out) {
            Ok(at) => found.messages.push((at, out.clone())),
            Err(Refused::Empty) => break,
            Err(damage) => {
                found.damage = Some(damage);
                break;
            }
        }
        if found.messages.len() as u64 > most {
            found.damage = Some(Refused::Full); // only memory that was believed can go round
            break;
        }
    }
    if recovered.cold {
        assert_eq!(recovered.kept_messages, found.messages.len() as u64);
        assert_eq!(rx.head(), found.tail);
    }
    found
}

/// Damage and loss are said; a cold recovery that says so has stored nothing.
fn check_refused(left: &Left, words: &[u64], medium: &Medium, refused: Refused, warm: bool) {
    match refused {
        Refused::Corrupt | Refused::DataLoss { .. } => {}
        Refused::Poisoned => assert!(warm, "the poison of another boot"),
        _ => panic!("{refused:?}"),
    }
    if warm {
        return;
    }
    assert!(medium.words() == words, "refused, and yet written to");
    if words[SLOTS] == left.words[SLOTS] {
        // Nothing but a record that was acknowledged can be missed.
        let touched = left
            .published
            .iter()
            .take_while(|(at, _)| at.wrapping_sub(left.head) < left.acknowledged_bytes())
            .any(|(at, message)| left.is_touched(words, *at, message.len()));
        assert!(touched, "{refused:?} although all of it is there");
    }
}

/// Messages are chained from head to tail, and in a ring with checksums somebody wrote each of them.
fn check_inside(left: &Left, words: &[u64], found: &Found) {
    let mut at = found.head;
    for (position, message) in &found.messages {
        assert_eq!(*position, at);
        at = at.wrapping_add(record_bytes(message.len()));
        assert!(record_bytes(message.len()) < left.plan.capacity_bytes);
        if left.plan.checksummed && !left.is_touched(words, *position, message.len()) {
            let known = left.written.get(position);
            let is_known = known.is_some_and(|known| known.contains(message));
            assert!(is_known, "nobody wrote {message:?} at {position}");
        }
    }
    if found.damage.is_none() {
        assert!(at.wrapping_sub(found.head) < left.plan.capacity_bytes);
    }
}

/// The slots are whole, so what they say was promised: all that was acknowledged, and with
/// checksums whatever follows it whole.
fn check_promises(left: &Left, words: &[u64], found: &Found) {
    assert_eq!(found.head, left.head);
    let from_head = |at: u64| at.wrapping_sub(left.head);
    let acknowledged = left.acknowledged_bytes();
    for ((at, message), number) in left.published.iter().zip(0..) {
        if left.is_touched(words, *at, message.len()) {
            return;
        }
        if !left.plan.checksummed && from_head(*at) >= acknowledged {
            assert_eq!(from_head(found.tail), acknowledged, "went on without proof");
            return;
        }
        assert_eq!(found.messages.get(number), Some(&(*at, message.clone())));
    }
}

/// A recovered ring is a ring: a message gets through, and a checkpoint keeps it.
fn go_on(left: &Left, medium: &Medium) {
    let (_, (mut tx, mut rx)) = attach(left, medium, another(12), true).expect("recovered before");
    let mut out = Vec::new();
    while rx.try_recv(&mut out).is_ok() {}
    rx.checkpoint().expect("no sync fails");
    tx.try_send(b"go on").expect("an empty ring");
    tx.checkpoint(Form::Full).expect("no sync fails");
    let (found, ends) = attach(left, medium, another(13), false).expect("in order");
    let found = take_all(left, &found, ends);
    assert_eq!(found.messages.len(), 1);
    assert_eq!(found.messages[0].1, b"go on");
}
