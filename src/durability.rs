//! What an end has for power cuts: who makes its checkpoints, when, and what became of them.

use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::checkpoint::{self, CheckpointForm, Checkpointer, Durable, Fault};
use crate::error::CheckpointError;
use crate::layout::{Checkpoint, Role, word};
use crate::memory::{Extent, Mapped};
use crate::policy::{CheckpointPolicy, Since};
use crate::recovery::Recovery;
use crate::ring::{self, Geometry, ProducerCore, Progress, Waker};

/// The durable side of an end.
#[derive(Debug)]
pub(crate) struct Durability {
    role: Role,
    recovery: Recovery,
    maker: Maker,
    /// The producer's newest slot when this end was attached: where incarnations start.
    origins: Checkpoint,
    last: Durable,
    poisoned: bool,
    since: Since,
}

/// Who makes the checkpoints.
#[derive(Debug)]
enum Maker {
    /// Nobody, and why.
    None(&'static str),
    /// This thread.
    Here(Box<Worker>),
    /// A thread of its own.
    There(Background),
}

/// Everything that a checkpoint needs besides the memory.
#[derive(Debug)]
pub(crate) struct Worker {
    role: Role,
    geometry: Geometry,
    checkpointer: Checkpointer,
    waker: Waker,
}

impl Worker {
    pub(crate) const fn new(role: Role, geometry: Geometry, checkpointer: Checkpointer) -> Self {
        Self {
            role,
            geometry,
            checkpointer,
            waker: Waker::for_checkpoints(role),
        }
    }

    /// Makes a checkpoint of everything up to `reached` and wakes the other side if it waited for
    /// that.
    ///
    /// To write a page back the kernel makes it read-only first, and interrupts every processor that
    /// this program ran on once for each page. The producer will not store there for a lap, so its
    /// pages are let go before, all at once: one interrupt for all of them.
    fn make(
        &mut self,
        memory: &Mapped,
        reached: Progress,
        form: CheckpointForm,
    ) -> Result<Durable, Fault> {
        let geometry = &self.geometry;
        let done = match self.role {
            Role::Producer => {
                let from = self.checkpointer.durable().position;
                memory.mapping().let_go(from, reached.position);
                self.checkpointer
                    .producer(memory, geometry, reached, form)?
            }
            Role::Consumer => self.checkpointer.consumer(memory, geometry, reached)?,
        };
        if self.waker.tell(memory, done.position) {
            memory.futex_wake(word::WAKE.of(self.role));
        }
        Ok(done)
    }
}

/// What a background thread is asked for; it answers each.
#[derive(Clone, Copy, Debug)]
enum Request {
    Make(Progress, CheckpointForm),
    Sync(Extent),
    Tell,
}

/// A thread that makes the checkpoints of one end.
#[derive(Debug)]
struct Background {
    requests: Sender<Request>,
    answers: Receiver<Result<Durable, Fault>>,
    thread: JoinHandle<Worker>,
}

impl Background {
    fn start(
        worker: Worker,
        memory: Mapped,
        policy: CheckpointPolicy,
        reached: Progress,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = channel();
        let (outbox, answers) = channel();
        let role = worker.role;
        let thread = std::thread::Builder::new()
            .name(format!("ringduct-{role}"))
            .spawn(move || {
                let desk = Desk {
                    worker,
                    memory,
                    since: Since::new(policy, reached, Instant::now()),
                    inbox,
                    outbox,
                    failed: None,
                };
                desk.work(policy.look_every())
            })?;
        Ok(Self {
            requests,
            answers,
            thread,
        })
    }

    /// Asks and waits; a thread that is gone could only have panicked.
    fn ask(&self, request: Request) -> Result<Durable, Fault> {
        let gone = Fault::Poisoned;
        self.requests.send(request).map_err(|_| gone)?;
        self.answers.recv().map_err(|_| gone)?
    }

    /// Ends the thread and takes its work back.
    fn stop(self) -> Option<Worker> {
        drop(self.requests);
        self.thread.join().ok()
    }
}

/// The background thread's side.
struct Desk {
    worker: Worker,
    memory: Mapped,
    since: Since,
    inbox: Receiver<Request>,
    outbox: Sender<Result<Durable, Fault>>,
    /// What failed unasked, until it is told.
    failed: Option<Fault>,
}

impl Desk {
    fn work(mut self, look_every: Option<Duration>) -> Worker {
        let after = |every: Option<Duration>| Instant::now().checked_add(every?);
        let mut next_look = after(look_every);
        loop {
            let next = match next_look {
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    self.inbox.recv_timeout(left)
                }
                None => self
                    .inbox
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(request) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.worker,
            }
            // By the clock, not for want of requests: an end that asks all the time has a policy too.
            if next_look.is_some_and(|at| at <= Instant::now()) {
                self.look();
                next_look = after(look_every);
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let outcome = match request {
            Request::Make(reached, form) => {
                self.since.restart(reached, Instant::now());
                self.worker.make(&self.memory, reached, form)
            }
            Request::Sync(extent) => {
                let checkpointer = &mut self.worker.checkpointer;
                let synced = checkpointer.sync(&self.memory, extent);
                synced.map(|()| checkpointer.durable())
            }
            Request::Tell => match self.failed.take() {
                Some(fault) => Err(fault),
                None => Ok(self.worker.checkpointer.durable()),
            },
        };
        // Whoever asked waits for this; if it is gone, so is the end.
        let _gone = self.outbox.send(outcome);
    }

    /// Looks how far the hot thread has come, and makes a checkpoint when one is due.
    fn look(&mut self) {
        let Worker { role, geometry, .. } = &self.worker;
        let known = self.since.last();
        let Some(reached) = ring::beside(&self.memory, geometry, *role, known) else {
            return; // it moves too fast to be counted: next time
        };
        if !self.since.is_due(&reached, Instant::now) {
            return;
        }
        let form = default_form(&self.worker.geometry);
        if let Err(fault) = self.worker.make(&self.memory, reached, form) {
            self.failed.get_or_insert(fault);
        }
        self.since.restart(reached, Instant::now());
    }
}

/// One sync where records prove themselves, two elsewhere.
const fn default_form(geometry: &Geometry) -> CheckpointForm {
    if geometry.is_checksummed() {
        CheckpointForm::OneSync
    } else {
        CheckpointForm::Full
    }
}

impl Durability {
    /// Of an end whose ring is not durable.
    pub(crate) fn none(role: Role, recovery: Recovery, why: &'static str) -> Self {
        Self::with(
            (role, Maker::None(why)),
            recovery,
            Checkpoint::first(0),
            Durable::default(),
        )
    }

    /// Of an end that makes its checkpoints itself, until it is told otherwise.
    pub(crate) fn new(recovery: Recovery, worker: Worker, origins: Checkpoint) -> Self {
        let last = worker.checkpointer.durable();
        let maker = (worker.role, Maker::Here(Box::new(worker)));
        Self::with(maker, recovery, origins, last)
    }

    fn with(
        (role, maker): (Role, Maker),
        recovery: Recovery,
        origins: Checkpoint,
        last: Durable,
    ) -> Self {
        Self {
            role,
            recovery,
            maker,
            origins,
            last,
            poisoned: false,
            since: Since::new(CheckpointPolicy::new(), Progress::default(), Instant::now()),
        }
    }

    /// What was found when the end was attached.
    pub(crate) const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The incarnation in which the record at `position` was published.
    pub(crate) fn incarnation_of(&self, position: u64) -> u64 {
        self.origins.incarnation_of(position)
    }

    /// Makes a checkpoint now and waits for it.
    pub(crate) fn checkpoint(
        &mut self,
        memory: &Mapped,
        geometry: &Geometry,
        reached: Progress,
        form: Option<CheckpointForm>,
    ) -> Result<Durable, CheckpointError> {
        if form == Some(CheckpointForm::OneSync) && !geometry.is_checksummed() {
            return Err(CheckpointError::NeedsChecksums);
        }
        let form = form.unwrap_or(default_form(geometry));
        let outcome = match &mut self.maker {
            Maker::None(why) => return Err(CheckpointError::NotDurable { why }),
            Maker::Here(worker) => worker.make(memory, reached, form),
            Maker::There(background) => background.ask(Request::Make(reached, form)),
        };
        self.since.restart(reached, Instant::now());
        self.note(outcome)
    }

    /// Brings something to the medium that is no checkpoint.
    pub(crate) fn sync(&mut self, memory: &Mapped, extent: Extent) -> Result<(), CheckpointError> {
        let outcome = match &mut self.maker {
            Maker::None(why) => return Err(CheckpointError::NotDurable { why }),
            Maker::Here(worker) => {
                let synced = worker.checkpointer.sync(memory, extent);
                synced.map(|()| self.last)
            }
            Maker::There(background) => background.ask(Request::Sync(extent)).map(|_| self.last),
        };
        self.note(outcome).map(|_| ())
    }

    /// Overwrites what was written and not published, and brings that to the medium. Only records
    /// with checksums could come back from there.
    pub(crate) fn erase_abandoned(
        &mut self,
        core: &mut ProducerCore<Mapped>,
    ) -> Result<(), CheckpointError> {
        if !core.has_abandoned() {
            return Ok(());
        }
        if core.geometry().is_checksummed() {
            let (from, to) = core.erase_abandoned();
            let memory = core.memory().clone();
            self.sync(&memory, Extent::Data { from, to })?;
        }
        core.forget_abandoned();
        Ok(())
    }

    /// Syncs in the thread that makes the checkpoints, if that is another one: the kernel tells each
    /// description of a lost write once, and who is told must say so before anybody else asks.
    pub(crate) fn sync_there(&self) -> Option<Result<(), i32>> {
        let Maker::There(background) = &self.maker else {
            return None;
        };
        Some(match background.ask(Request::Sync(Extent::Everything)) {
            Ok(_) => Ok(()),
            Err(Fault::Sync(errno)) => Err(errno),
            Err(Fault::Poisoned) => Err(rustix::io::Errno::IO.raw_os_error()),
        })
    }

    /// A sync outside of checkpoints has failed: says so for good.
    pub(crate) fn poison(&self, memory: &Mapped) {
        if !matches!(self.maker, Maker::None(_)) {
            crate::state::poison(memory, self.role);
        }
    }

    fn note(&mut self, outcome: Result<Durable, Fault>) -> Result<Durable, CheckpointError> {
        match outcome {
            Ok(done) => {
                self.last = done;
                Ok(done)
            }
            Err(Fault::Poisoned) => {
                self.poisoned = true;
                Err(CheckpointError::Poisoned)
            }
            Err(Fault::Sync(errno)) => {
                self.poisoned = true;
                Err(CheckpointError::Sync { errno })
            }
        }
    }

    /// How far this side is durable, as far as is known without a sync.
    pub(crate) fn durable(
        &mut self,
        memory: &Mapped,
        geometry: &Geometry,
    ) -> Result<Durable, CheckpointError> {
        if let Maker::None(why) = &self.maker {
            return Err(CheckpointError::NotDurable { why });
        }
        if self.is_poisoned(memory) {
            return Err(CheckpointError::Poisoned);
        }
        if matches!(self.maker, Maker::There(_)) {
            let told = checkpoint::told(memory, self.role, geometry.seed());
            self.last = told.unwrap_or(self.last);
        }
        Ok(self.last)
    }

    /// Whether durable work is refused: a sync has failed, here or on the other side.
    pub(crate) fn is_poisoned(&mut self, memory: &Mapped) -> bool {
        self.poisoned |= crate::state::is_any_poisoned(memory);
        self.poisoned
    }

    /// Makes checkpoints from now on when `policy` says so. `true`: the hot path must pass by
    /// [`Self::tick`].
    pub(crate) fn set_policy(
        &mut self,
        memory: &Mapped,
        geometry: &Geometry,
        reached: Progress,
        policy: CheckpointPolicy,
    ) -> Result<bool, CheckpointError> {
        self.come_back()?;
        self.since = Since::new(policy, reached, Instant::now());
        let worker = match &mut self.maker {
            Maker::Here(worker) => worker,
            Maker::None(why) => return Err(CheckpointError::NotDurable { why }),
            Maker::There(_) => return Ok(false), // it has just come back
        };
        if !policy.is_background() || policy.is_never() {
            return Ok(!policy.is_never());
        }
        // A successor's first steps store published words: not beside a hot path.
        let prepared = worker
            .checkpointer
            .prepare(memory, geometry, reached.position);
        if let Err(fault) = prepared {
            return self.note(Err(fault)).map(|_| false);
        }
        let worker = Worker::new(worker.role, worker.geometry, worker.checkpointer);
        let started = Background::start(worker, memory.clone(), policy, reached);
        let background = started.map_err(|error| CheckpointError::NoThread {
            errno: error.raw_os_error().unwrap_or(0),
        })?;
        self.maker = Maker::There(background);
        Ok(false)
    }

    /// Ends a background thread and takes its work back.
    fn come_back(&mut self) -> Result<(), CheckpointError> {
        let gone = Maker::None("an end whose background thread has panicked");
        match core::mem::replace(&mut self.maker, gone) {
            Maker::There(background) => {
                let told = background.ask(Request::Tell);
                let worker = background.stop().ok_or(CheckpointError::Poisoned)?;
                self.last = worker.checkpointer.durable();
                self.maker = Maker::Here(Box::new(worker));
                self.note(told).map(|_| ())
            }
            same => {
                self.maker = same;
                Ok(())
            }
        }
    }

    /// Whether a checkpoint of this side would make anything durable that is not.
    pub(crate) fn owes_checkpoint(&self, reached: &Progress) -> bool {
        !matches!(self.maker, Maker::None(_))
            && !self.poisoned
            && self.last.position != reached.position
    }

    /// On the hot thread, after a message: a checkpoint if one is due.
    pub(crate) fn tick(&mut self, memory: &Mapped, geometry: &Geometry, reached: &Progress) {
        if matches!(self.maker, Maker::Here(_)) && self.since.is_due(reached, Instant::now) {
            // What failed is latched; the next send or checkpoint says so.
            let _latched = self.checkpoint(memory, geometry, *reached, None);
        }
    }

    /// Before the end goes: its thread ends first. In a forked child there is none.
    pub(crate) fn stop(&mut self, is_owner: bool) {
        if is_owner {
            let _latched = self.come_back();
        } else if let Maker::There(background) =
            core::mem::replace(&mut self.maker, Maker::None("inherited by fork"))
        {
            // Neither joined nor detached: the thread was not copied.
            let _kept = core::mem::ManuallyDrop::new(background);
        }
    }
}
