//! One ring, the two processes that come and go on it, and what is done to them.
//!
//! Every operation tells the [`Oracle`] what may happen before it begins and what was promised
//! after it returned, and judges what it returned. An operation whose process died in it returned
//! nothing.

mod traffic;

use crate::disk::{Disk, Handle};
use crate::oracle::{Fact, Oracle};
use crate::protocol::{Form, Machine, Plan, Protocol, Receiver, Recovered, Refused, Seat, Sender};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A producer attaches.
    AttachProducer,
    /// A consumer attaches.
    AttachConsumer,
    /// The producer leaves in order.
    CloseProducer,
    /// The consumer leaves in order.
    CloseConsumer,
    /// The producer is killed between two operations.
    KillProducer,
    /// The consumer is killed between two operations.
    KillConsumer,
    /// Sends messages of these lengths together; abandons them unless told to publish.
    Send(Vec<u32>, bool),
    /// Takes up to so many messages.
    Receive(u32),
    /// The producer's checkpoint.
    CheckpointProducer(Form),
    /// The consumer's checkpoint.
    CheckpointConsumer,
    /// The sync after so many more fails.
    FailSync(u32),
    /// Everybody is killed, and the file is found under another mount.
    Move,
    /// Both sides must get through: a message arrives and its space is used again.
    Flow,
}

/// An operation and what happens meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// The process that does it dies after so many events.
    pub dies_after: Option<u32>,
    /// What the other side does inside the first sync.
    pub meanwhile: Vec<Op>,
}

/// What an operation was, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A full checkpoint of the producer.
    Full,
    /// A one-sync checkpoint.
    OneSync,
    /// The consumer's checkpoint.
    Consumer,
    /// An attach that recovered as after a power cut, or died before it said.
    Recovery,
    /// Anything else.
    Other,
}

/// An operation and the events it is made of.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it was.
    pub kind: Kind,
    /// Number of its first event.
    pub from: u32,
    /// Number of the first event after it.
    pub to: u32,
}

/// What is known about a ring's life, and its record.
#[derive(Debug)]
pub struct Book {
    /// The promises as they are now.
    pub oracle: Oracle,
    /// The same promises one by one: after so many events, this.
    pub facts: Vec<(u32, Fact)>,
    /// Operations in the order of their beginning.
    pub spans: Vec<Span>,
    /// What was done: event, operation, outcome.
    pub script: Vec<String>,
    next_id: u64,
    /// The machine of the last attach that came through.
    settled: Option<Machine>,
    /// A sync failed in this boot, or may still.
    trouble: bool,
    /// A recovery began in this boot and nobody saw its end.
    unseen: bool,
    /// A promise broken inside a sync.
    wrong: Option<Wrong>,
}

/// An end and the process that holds it.
struct Held<E> {
    end: E,
    handle: Handle,
}

/// The ring and its processes.
pub struct World<P: Protocol> {
    protocol: P,
    /// What the ring was made with.
    pub plan: Plan,
    /// The file.
    pub disk: Rc<Disk>,
    producer: RefCell<Option<Held<P::Producer>>>,
    consumer: RefCell<Option<Held<P::Consumer>>>,
    /// The record.
    pub book: RefCell<Book>,
    machine: Cell<Machine>,
}

impl<P: Protocol> std::fmt::Debug for World<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// What was promised and is not so.
pub type Wrong = String;

impl<P: Protocol> World<P> {
    /// A new ring on a medium that has it.
    pub fn new(protocol: P, plan: Plan, seed: u64) -> Rc<Self> {
        let disk = Disk::new(plan.total_bytes());
        let remembered = protocol.remembered_incarnations();
        let machine = Machine {
            boot: 1,
            instance: 1,
        };
        protocol.format(&disk.open(), &plan, machine);
        disk.settle();
        Rc::new(Self {
            protocol,
            plan,
            disk,
            producer: RefCell::new(None),
            consumer: RefCell::new(None),
            book: RefCell::new(Book {
                oracle: Oracle::new(&plan, remembered),
                facts: Vec::new(),
                spans: Vec::new(),
                script: Vec::new(),
                next_id: seed << 24,
                settled: None,
                trouble: false,
                unseen: false,
                wrong: None,
            }),
            machine: Cell::new(machine),
        })
    }

    /// Whether a producer lives.
    pub fn has_producer(&self) -> bool {
        self.producer.borrow().is_some()
    }

    /// Whether a consumer lives.
    pub fn has_consumer(&self) -> bool {
        self.consumer.borrow().is_some()
    }

    /// Whether a sync failed in this boot, or may still.
    pub fn in_trouble(&self) -> bool {
        self.book.borrow().trouble
    }

    /// Begins a new record on a medium that has everything.
    pub fn settle(&self) {
        let mut book = self.book.borrow_mut();
        book.facts.clear();
        book.spans.clear();
        book.script.clear();
        book.oracle.prune();
        self.disk.forget_log();
    }

    /// The power goes: nobody lives, and the medium is what `image` holds.
    pub fn cut(&self, image: &Disk, oracle: Oracle) {
        self.producer.take();
        self.consumer.take();
        self.disk.copy_from(image);
        self.disk.settle();
        self.settle();
        let boot = self.machine.get().boot + 1;
        self.machine.set(Machine {
            boot,
            instance: boot << 8,
        });
        let mut book = self.book.borrow_mut();
        book.oracle = oracle;
        book.oracle.learn(&Fact::Cut);
        book.oracle.prune();
        book.trouble = false;
        book.unseen = false;
    }

    /// Does one step.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn run(self: &Rc<Self>, step: &Step) -> Result<(), Wrong> {
        let from = self.events();
        if !step.meanwhile.is_empty() {
            let (world, ops) = (Rc::clone(self), step.meanwhile.clone());
            self.disk.during_sync(Box::new(move || {
                for op in ops {
                    let done = world.one(&op, None);
                    world.note(&format!("    meanwhile {op:?}"), &done);
                    if let Err(wrong) = done {
                        world.book.borrow_mut().wrong = Some(wrong);
                    }
                }
            }));
        }
        let done = self.one(&step.op, step.dies_after);
        self.disk.no_hook();
        self.note(&format!("{from}: {step:?}"), &done);
        self.book.borrow_mut().wrong.take().map_or(done, Err)
    }

    fn note(&self, what: &str, done: &Result<(), Wrong>) {
        let to = self.events();
        self.book
            .borrow_mut()
            .script
            .push(format!("{what} up to {to}: {done:?}"));
    }

    fn events(&self) -> u32 {
        u32::try_from(self.disk.events()).expect("a record has few events")
    }

    fn tell(&self, fact: Fact) {
        let event = self.events();
        let mut book = self.book.borrow_mut();
        book.oracle.learn(&fact);
        book.facts.push((event, fact));
    }

    fn one(&self, op: &Op, dies_after: Option<u32>) -> Result<(), Wrong> {
        let index = self.book.borrow().spans.len();
        let (from, kind) = (self.events(), Kind::Other);
        self.book.borrow_mut().spans.push(Span {
            kind,
            from,
            to: from,
        });
        let kind = match op {
            Op::AttachProducer => self.attach_producer(dies_after)?,
            Op::AttachConsumer => self.attach_consumer(dies_after)?,
            Op::CloseProducer => self.close_producer(dies_after),
            Op::CloseConsumer => self.close_consumer(dies_after),
            Op::KillProducer => kill(&self.producer),
            Op::KillConsumer => kill(&self.consumer),
            Op::Send(lengths, publish) => self.send(lengths, *publish, dies_after)?,
            Op::Receive(count) => self.receive_some(*count, dies_after)?,
            Op::CheckpointProducer(form) => self.checkpoint_producer(*form, dies_after)?,
            Op::CheckpointConsumer => self.checkpoint_consumer(dies_after)?,
            Op::FailSync(after) => {
                self.disk.fail_sync(*after, 5);
                self.book.borrow_mut().trouble = true;
                Kind::Other
            }
            Op::Move => {
                kill(&self.producer);
                kill(&self.consumer);
                let Machine { boot, instance } = self.machine.get();
                self.machine.set(Machine {
                    boot,
                    instance: instance + 1,
                });
                Kind::Other
            }
            Op::Flow => self.flow()?,
        };
        let to = self.events();
        let mut book = self.book.borrow_mut();
        (book.spans[index].kind, book.spans[index].to) = (kind, to);
        Ok(())
    }

    fn seat(&self, dies_after: Option<u32>, peer_is_live: bool) -> (Handle, Seat<'_>) {
        let handle = self.disk.open();
        if let Some(events) = dies_after {
            handle.die_after(events);
        }
        let (carrier, machine) = (handle.clone(), self.machine.get());
        (
            handle,
            Seat {
                carrier,
                plan: &self.plan,
                machine,
                peer_is_live,
            },
        )
    }

    fn kind_of_attach(&self, live: bool) -> Kind {
        let settled = self.book.borrow().settled;
        let cold = !live && settled != Some(self.machine.get());
        if cold { Kind::Recovery } else { Kind::Other }
    }

    fn attach_producer(&self, dies_after: Option<u32>) -> Result<Kind, Wrong> {
        if self.has_producer() {
            return Ok(Kind::Other);
        }
        let kind = self.kind_of_attach(self.has_consumer());
        let (handle, seat) = self.seat(dies_after, self.has_consumer());
        let attached = self.protocol.producer(seat);
        let Some((end, found)) = self.attached(&handle, attached, self.has_consumer())? else {
            return Ok(kind);
        };
        if !found.cold {
            let all = self.book.borrow().oracle.relative(found.tail)
                == self.book.borrow().oracle.tail_at_most();
            self.tell(if all { Fact::Sent } else { Fact::NotSent });
        }
        handle.spare();
        expect(end.tail() == found.tail, || {
            format!("tail() is {}: {found:?}", end.tail())
        })?;
        *self.producer.borrow_mut() = Some(Held { end, handle });
        Ok(kind)
    }

    fn attach_consumer(&self, dies_after: Option<u32>) -> Result<Kind, Wrong> {
        if self.has_consumer() {
            return Ok(Kind::Other);
        }
        let kind = self.kind_of_attach(self.has_producer());
        let (handle, seat) = self.seat(dies_after, self.has_producer());
        let attached = self.protocol.consumer(seat);
        let Some((end, found)) = self.attached(&handle, attached, self.has_producer())? else {
            return Ok(kind);
        };
        let (open, all) = {
            let oracle = &self.book.borrow().oracle;
            (
                oracle.is_open(),
                oracle.relative(found.tail) == oracle.tail_at_most(),
            )
        };
        if !found.cold && open && all {
            self.tell(Fact::Sent);
        }
        handle.spare();
        expect(end.head() == found.head, || {
            format!("head() is {}: {found:?}", end.head())
        })?;
        *self.consumer.borrow_mut() = Some(Held { end, handle });
        Ok(kind)
    }

    /// Judges an attach; nothing if the process died in it or was refused for a good reason.
    fn attached<E>(
        &self,
        handle: &Handle,
        attached: Result<(E, Recovered), Refused>,
        live: bool,
    ) -> Result<Option<(E, Recovered)>, Wrong> {
        let machine = self.machine.get();
        let (settled, trouble) = (self.book.borrow().settled, self.book.borrow().trouble);
        let fresh = !live && settled != Some(machine);
        if handle.is_dead() {
            self.book.borrow_mut().unseen |= fresh;
            return Ok(None);
        }
        let (end, found) = match attached {
            Ok(done) => done,
            Err(Refused::Poisoned | Refused::Sync(_)) if trouble => {
                self.book.borrow_mut().unseen |= fresh;
                return Ok(None);
            }
            Err(refused) => return Err(format!("attach was refused: {refused:?}")),
        };
        let failed = self.book.borrow().oracle.failed();
        expect(
            live || !failed || machine.instance != settled.map_or(0, |at| at.instance),
            || "attached to a ring of which a checkpoint failed".into(),
        )?;
        // A recovery that nobody saw the end of may have come to its end.
        let unseen = fresh && self.book.borrow().unseen;
        let cold = found.cold || unseen;
        self.book
            .borrow()
            .oracle
            .judge(&Recovered { cold, ..found }, fresh, live)?;
        let new_boot = settled.is_some_and(|settled| settled.boot != machine.boot);
        expect(live || !new_boot || cold, || {
            "trusted the shared words after a power cut".into()
        })?;
        let head = self.book.borrow().oracle.relative(found.head);
        let tail = self.book.borrow().oracle.relative(found.tail);
        self.tell(if cold {
            Fact::Cold(head, tail)
        } else {
            Fact::Head(head)
        });
        self.tell(Fact::Incarnation(found.incarnation));
        let mut book = self.book.borrow_mut();
        (book.settled, book.unseen) = (Some(machine), false);
        Ok(Some((end, found)))
    }

    fn close_producer(&self, dies_after: Option<u32>) -> Kind {
        if let Some(Held { end, handle }) = self.producer.take() {
            set_death(&handle, dies_after);
            end.close();
        }
        Kind::Other
    }

    fn close_consumer(&self, dies_after: Option<u32>) -> Kind {
        if let Some(Held { end, handle }) = self.consumer.take() {
            set_death(&handle, dies_after);
            end.close();
        }
        Kind::Other
    }
}

fn kill<E>(slot: &RefCell<Option<Held<E>>>) -> Kind {
    if let Some(held) = slot.take() {
        held.handle.kill();
    }
    Kind::Other
}

fn set_death(handle: &Handle, after: Option<u32>) {
    if let Some(events) = after {
        handle.die_after(events);
    }
}

/// The promise, or how it was broken.
fn expect(holds: bool, wrong: impl FnOnce() -> Wrong) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong()) }
}
