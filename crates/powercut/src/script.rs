//! Random scripts, with a bias to what breaks rings.

use crate::protocol::{Form, Plan, Protocol};
use crate::random::Random;
use crate::scenario::{Op, Step, World};

/// How long the messages of a case are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// All alike, and the record divides the ring: old laps lie at the right places.
    Same(u32),
    /// Up to so many bytes.
    UpTo(u32),
}

/// What a case is made of.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The ring.
    pub plan: Plan,
    /// The messages.
    pub lengths: Lengths,
    /// Whether syncs may fail.
    pub failures: bool,
    /// Whether processes die.
    pub deaths: bool,
}

impl Style {
    /// Any style.
    pub fn any(largest_capacity: u64, random: &mut Random) -> Self {
        let capacity_bytes = match random.below(12) {
            0 | 1 => 64,
            2..5 => 128,
            5..9 => 256,
            9 => 1024,
            _ => 4096,
        };
        let capacity_bytes = capacity_bytes.min(largest_capacity);
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&random.next().to_le_bytes());
        let base = match random.below(8) {
            0..4 => 0,
            4 => (1 << 31) - 8 * random.below(64),
            5 => (1 << 32) - 8 * random.below(64),
            6 => (1 << 63) - 8 * random.below(64),
            _ => 0_u64.wrapping_sub(8 * random.below(64)),
        };
        let plan = Plan {
            capacity_bytes,
            checksummed: random.chance(65),
            uuid,
            base,
        };
        let longest = u32::try_from(capacity_bytes - 16).expect("small rings");
        let lengths = match random.below(6) {
            0 => Lengths::Same(8),
            1 => Lengths::Same(24.min(longest)),
            2 => Lengths::Same(0),
            3 => Lengths::UpTo(longest),
            4 => Lengths::UpTo(16.min(longest)),
            _ => Lengths::UpTo(40.min(longest)),
        };
        Self {
            plan,
            lengths,
            failures: random.one_in(3),
            deaths: random.chance(60),
        }
    }

    fn length(&self, random: &mut Random) -> u32 {
        match self.lengths {
            Lengths::Same(length) => length,
            Lengths::UpTo(most) => {
                u32::try_from(random.below(u64::from(most) + 1)).expect("it was one before")
            }
        }
    }

    fn form(&self, random: &mut Random) -> Form {
        if self.plan.checksummed && random.one_in(2) {
            Form::OneSync
        } else {
            Form::Full
        }
    }

    /// Steps that lead where random ones seldom get.
    fn gambit(&self, random: &mut Random) -> Vec<Step> {
        let batch = self.batch(random);
        let full = if self.plan.checksummed {
            self.form(random)
        } else {
            Form::Full
        };
        let checkpoint = Op::CheckpointProducer(full);
        match random.below(if self.deaths { 6 } else { 2 }) {
            // What was abandoned must not come back behind a record that ends where it lies.
            0 => vec![
                plain(Op::Send(batch.clone(), false)),
                plain(Op::Send(vec![batch[0]], true)),
                plain(checkpoint),
            ],
            // Space that is released but not durably so.
            1 => vec![
                plain(Op::Receive(40)),
                plain(Op::Send(batch.clone(), true)),
                plain(Op::Send(batch, true)),
                plain(Op::CheckpointConsumer),
            ],
            // Nor what was never published because its producer died.
            2 => vec![
                dying(Op::Send(batch.clone(), true), 1 + random.below(24)),
                plain(Op::AttachProducer),
                plain(Op::Send(vec![batch[0]], true)),
                plain(checkpoint),
            ],
            // An error that only a dead process was told.
            3 if self.failures => {
                // So much that whole pages hold nothing else.
                let eighth = u32::try_from(self.plan.capacity_bytes / 8).expect("small rings");
                let mut steps = vec![plain(Op::Send(vec![eighth], true)); 6];
                steps.extend([
                    plain(Op::FailSync(0)),
                    dying(checkpoint.clone(), random.below(2)),
                    plain(Op::AttachProducer),
                    plain(checkpoint),
                ]);
                steps
            }
            // The same, of the consumer's slot.
            4 if self.failures => vec![
                plain(Op::Receive(2)),
                plain(Op::FailSync(0)),
                dying(Op::CheckpointConsumer, 8 + random.below(16)),
                plain(Op::AttachConsumer),
                plain(Op::CheckpointConsumer),
            ],
            // A recovery after a recovery that died.
            _ => vec![
                plain(Op::Move),
                dying(Op::AttachProducer, random.below(160)),
                dying(Op::AttachConsumer, random.below(160)),
                plain(Op::AttachProducer),
                plain(Op::AttachConsumer),
            ],
        }
    }

    /// The next steps in a world.
    pub fn next<P: Protocol>(&self, world: &World<P>, random: &mut Random) -> Vec<Step> {
        if random.one_in(6) {
            self.gambit(random)
        } else {
            vec![self.step(world, random)]
        }
    }

    /// Any step.
    fn step<P: Protocol>(&self, world: &World<P>, random: &mut Random) -> Step {
        let op = self.op(world, random);
        let dies = self.deaths
            && !matches!(op, Op::Flow | Op::Move | Op::FailSync(_))
            && random.one_in(14);
        let dies_after =
            dies.then(|| u32::try_from(random.below(death_range(&op))).expect("a small range"));
        let mut meanwhile = Vec::new();
        if random.one_in(3) {
            let count = 1 + random.below(4);
            let sends = matches!(op, Op::CheckpointConsumer);
            if sends || matches!(op, Op::CheckpointProducer(_)) {
                meanwhile = (0..count).map(|_| self.background(sends, random)).collect();
            }
        }
        Step {
            op,
            dies_after,
            meanwhile,
        }
    }

    /// What the other side does while this one waits for the medium.
    fn background(&self, sends: bool, random: &mut Random) -> Op {
        match (sends, random.below(4)) {
            (true, 0) => Op::CheckpointProducer(self.form(random)),
            (true, 1) => Op::Send(self.batch(random), random.chance(80)),
            (true, _) => Op::Send(vec![self.length(random)], true),
            (false, 0) => Op::CheckpointConsumer,
            (false, _) => Op::Receive(1 + u32::try_from(random.below(3)).expect("small")),
        }
    }

    fn batch(&self, random: &mut Random) -> Vec<u32> {
        (0..2 + random.below(3))
            .map(|_| self.length(random))
            .collect()
    }

    fn op<P: Protocol>(&self, world: &World<P>, random: &mut Random) -> Op {
        match (world.has_producer(), world.has_consumer()) {
            (false, false) if random.one_in(2) => return Op::AttachProducer,
            (false, false) => return Op::AttachConsumer,
            (false, true) if random.one_in(3) => return Op::AttachProducer,
            (true, false) if random.one_in(3) => return Op::AttachConsumer,
            _ => {}
        }
        match random.below(100) {
            0..30 => Op::Send(vec![self.length(random)], true),
            30..38 => Op::Send(self.batch(random), true),
            38..42 => Op::Send(self.batch(random), false),
            42..62 => Op::Receive(1 + u32::try_from(random.below(3)).expect("small")),
            62..77 => Op::CheckpointProducer(self.form(random)),
            77..91 => Op::CheckpointConsumer,
            91 => Op::CloseProducer,
            92 => Op::CloseConsumer,
            93 if self.deaths => Op::KillProducer,
            94 if self.deaths => Op::KillConsumer,
            95 if self.deaths && random.one_in(2) => Op::Move,
            96 | 97 if self.failures => {
                Op::FailSync(u32::try_from(random.below(3)).expect("small"))
            }
            _ => Op::Flow,
        }
    }

    /// Laps before the record begins, so that the ring is full of valid old records.
    pub fn laps<P: Protocol>(&self, world: &World<P>, random: &mut Random) -> Vec<Step> {
        let record = 8 + u64::from(self.length(random)).next_multiple_of(8);
        let rounds = random.below(3) * (self.plan.capacity_bytes / record + 1).min(40);
        let mut steps = Vec::new();
        let mut add = |op| steps.push(plain(op));
        if !world.has_producer() {
            add(Op::AttachProducer);
        }
        add(Op::AttachConsumer);
        for _ in 0..rounds {
            add(Op::Send(vec![self.length(random)], true));
            add(Op::Receive(1));
            if random.one_in(3) {
                add(Op::CheckpointConsumer);
            }
        }
        add(Op::CheckpointProducer(Form::Full));
        steps
    }
}

fn plain(op: Op) -> Step {
    Step {
        op,
        dies_after: None,
        meanwhile: Vec::new(),
    }
}

fn dying(op: Op, after: u64) -> Step {
    let after = u32::try_from(after).expect("a few events");
    Step {
        op,
        dies_after: Some(after),
        meanwhile: Vec::new(),
    }
}

/// Events within which a process doing this dies; most have fewer.
fn death_range(op: &Op) -> u64 {
    match op {
        Op::AttachProducer | Op::AttachConsumer => 150,
        Op::CloseProducer | Op::CloseConsumer => 8,
        _ => 40,
    }
}
