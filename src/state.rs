//! In which state a durable ring is found: whether its shared words can be believed.
//!
//! Pages that several processes share live in one page cache, which outlives every process. So the
//! words are right for as long as that cache lasts: until a reboot, an unmount, or a copy to
//! another file. Each role's page says under which boot, in which file and on which mount it was
//! written; what a power cut left on the medium was written under another boot.

use crate::layout::{Offset, Role, word};
use crate::memory::{Memory, Order};

/// Under what a page of words was written: the words hold while all of it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) boot: [u64; 2],
    pub(crate) home: [u64; 2],
    pub(crate) mount: u64,
}

impl Here {
    const WORDS: [Offset; 5] = [
        word::BOOT_ID[0],
        word::BOOT_ID[1],
        word::HOME[0],
        word::HOME[1],
        word::MOUNT,
    ];

    /// What a role's page says.
    pub(crate) fn load(memory: &impl Memory, role: Role) -> Self {
        let [low, high, device, inode, mount] =
            Self::WORDS.map(|offset| memory.load(offset.of(role), Order::RELAXED));
        Self {
            boot: [low, high],
            home: [device, inode],
            mount,
        }
    }

    /// Writes it into a role's page.
    pub(crate) fn store(&self, memory: &impl Memory, role: Role) {
        let [low, high] = self.boot;
        let [device, inode] = self.home;
        let values = [low, high, device, inode, self.mount];
        for (offset, value) in Self::WORDS.into_iter().zip(values) {
            memory.store(offset.of(role), value, Order::RELAXED);
        }
    }
}

/// What may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The other side is there: the shared words are in use.
    Live,
    /// Nobody is there and the words are those of the last holders.
    SameBoot,
    /// Only what checkpoints prove.
    Cold,
    /// A sync failed under this boot: what is in memory may not be what is on the medium.
    Poisoned,
    /// Somebody holds the other role of a ring whose recovery has not finished.
    Contradiction {
        /// Generation in this role's page.
        own: u64,
        /// Generation in the holder's page.
        peer: u64,
    },
}

/// Decides, for one who takes `own` under the attach lock. `distrust` asks for the cold way where
/// there is a choice.
pub(crate) fn judge(
    memory: &impl Memory,
    own: Role,
    here: &Here,
    peer_is_live: bool,
    distrust: bool,
) -> State {
    let both = [own, own.peer()];
    let [own_generation, peer_generation] =
        both.map(|role| memory.load(word::GENERATION.of(role), Order::RELAXED));
    if peer_is_live {
        return if own_generation == peer_generation {
            State::Live
        } else {
            State::Contradiction {
                own: own_generation,
                peer: peer_generation,
            }
        };
    }
    let is_here = both.map(|role| Here::load(memory, role) == *here);
    let poisoned_here = both
        .into_iter()
        .zip(is_here)
        .any(|(role, is_here)| is_here && is_poisoned(memory, role));
    if poisoned_here {
        State::Poisoned
    } else if distrust || is_here != [true, true] || own_generation != peer_generation {
        State::Cold
    } else {
        State::SameBoot
    }
}

/// Whether a page may be clean and yet not on the medium: it was written under this boot, and
/// somebody may have been told of a lost write and died. That others have closed since says nothing.
pub(crate) fn may_be_clean_and_lost(memory: &impl Memory, here: &Here) -> bool {
    [Role::Producer, Role::Consumer]
        .into_iter()
        .any(|role| Here::load(memory, role).boot == here.boot)
}

/// Whether a sync of this role has failed.
pub(crate) fn is_poisoned(memory: &impl Memory, role: Role) -> bool {
    memory.load(word::POISON.of(role), Order::acquire("poison")) != 0
}

/// Whether a sync of either role has failed.
pub(crate) fn is_any_poisoned(memory: &impl Memory) -> bool {
    is_poisoned(memory, Role::Producer) || is_poisoned(memory, Role::Consumer)
}

/// Says that a sync of this role has failed.
pub(crate) fn poison(memory: &impl Memory, role: Role) {
    memory.store(word::POISON.of(role), 1, Order::release("poison"));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::Model;

    const HERE: Here = Here {
        boot: [1, 2],
        home: [3, 4],
        mount: 5,
    };

    fn ring() -> Model {
        let memory = Model::new(64);
        HERE.store(&memory, Role::Producer);
        HERE.store(&memory, Role::Consumer);
        memory
    }

    fn look(memory: &Model) -> State {
        judge(memory, Role::Producer, &HERE, false, false)
    }

    /// Goal: words are believed only where everything they were written under is still so.
    #[test]
    fn words_from_elsewhere_are_cold() {
        assert_eq!(look(&ring()), State::SameBoot);
        for role in [Role::Producer, Role::Consumer] {
            for offset in Here::WORDS {
                let memory = ring();
                memory.store(offset.of(role), 99, Order::RELAXED);
                assert_eq!(look(&memory), State::Cold, "{role} {offset:?}");
            }
        }
        assert_eq!(
            judge(&ring(), Role::Consumer, &HERE, false, true),
            State::Cold
        );
    }

    /// Goal: a recovery that was cut off is begun anew, and nobody joins it.
    #[test]
    fn unequal_generations_are_cold_or_a_contradiction() {
        let memory = ring();
        let generation = word::GENERATION.of(Role::Producer);
        memory.store(generation, 1, Order::RELAXED);
        assert_eq!(look(&memory), State::Cold);
        let live = judge(&memory, Role::Producer, &HERE, true, false);
        assert_eq!(live, State::Contradiction { own: 1, peer: 0 });
        assert_eq!(
            judge(&ring(), Role::Producer, &HERE, true, true),
            State::Live
        );
    }

    /// Goal: within a boot no page is taken for synced, whoever closed; after another boot all are
    /// what the medium holds.
    #[test]
    fn pages_of_this_boot_are_in_doubt() {
        let memory = ring();
        for role in [Role::Producer, Role::Consumer] {
            memory.store(word::SESSION.of(role), 3, Order::RELAXED);
            memory.store(word::CLOSED_SESSION.of(role), 3, Order::RELAXED);
        }
        let remounted = Here { mount: 6, ..HERE };
        assert!(may_be_clean_and_lost(&memory, &remounted));
        let rebooted = Here {
            boot: [9, 9],
            ..HERE
        };
        assert!(!may_be_clean_and_lost(&memory, &rebooted));
        rebooted.store(&memory, Role::Producer);
        assert!(may_be_clean_and_lost(&memory, &HERE), "the other page is");
    }

    /// Goal: poison of either side is final under its boot and forgotten under another.
    #[test]
    fn poison_lasts_as_long_as_the_page_cache() {
        for role in [Role::Producer, Role::Consumer] {
            let memory = ring();
            poison(&memory, role);
            assert_eq!(look(&memory), State::Poisoned);
            let distrusted = judge(&memory, Role::Producer, &HERE, false, true);
            assert_eq!(distrusted, State::Poisoned);
            let rebooted = Here {
                boot: [9, 9],
                ..HERE
            };
            let after = judge(&memory, Role::Producer, &rebooted, false, false);
            assert_eq!(after, State::Cold);
        }
    }
}
