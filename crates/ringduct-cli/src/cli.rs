//! The command line: one variant for each command, in the order in which `--help` lists them.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    bench, completions, create, doctor, dump, ls, man, recv, repair, rm, salvage, send, serve,
    stat, top, verify,
};
use crate::failure::Failure;
use crate::place;

/// Streams messages between two processes of one machine through a ring in shared memory.
#[derive(Parser, Debug)]
#[command(name = "ringduct", version, about, after_help = AFTER, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Tool {
    /// Trust rings of this user instead of one's own
    #[arg(long, global = true, value_name = "UID")]
    owner: Option<u32>,
    #[command(subcommand)]
    command: Command,
}

/// What every command's help ends with.
pub(crate) const AFTER: &str = "\
LOC, the location of a ring:
  orders.ring          a file (./shm:x for a name that begins like one of the next)
  shm:NAME             POSIX shared memory
  sysv:0xKEY, sysv:id:N    a System V segment, by key or by id
  unix:PATH            whoever listens there hands it over (`ringduct serve`)
  fd:N                 an open descriptor

Sizes are binary: 64K is 64 KiB, 64M is 64 MiB. Durations: 10ms, 1s, 5m; a bare number is seconds.

Exit codes:
  0  done, also when the reader of standard output had enough
  1  anything else
  2  the command line is wrong
  3  timed out
  4  the peer vanished without closing
  5  damaged, or not a ring
  6  the role is taken by another process
  7  no space
  128 and the number of the signal (130, 143) after SIGINT or SIGTERM; the ring was closed";

#[derive(Subcommand, Debug)]
enum Command {
    Create(create::Args),
    Send(send::Args),
    Recv(recv::Args),
    Stat(stat::Args),
    Top(top::Args),
    Dump(dump::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Salvage(salvage::Args),
    Ls(ls::Args),
    Rm(rm::Args),
    Serve(serve::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The whole command line, for whoever describes it.
pub(crate) fn command() -> clap::Command {
    Tool::command()
}

impl Tool {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Result<(), Failure> {
        if let Some(uid) = self.owner {
            place::trust(uid);
        }
        match self.command {
            Command::Create(args) => create::run(&args),
            Command::Send(args) => send::run(&args),
            Command::Recv(args) => recv::run(&args),
            Command::Stat(args) => stat::run(&args),
            Command::Top(args) => top::run(&args),
            Command::Dump(args) => dump::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Repair(args) => repair::run(&args),
            Command::Salvage(args) => salvage::run(&args),
            Command::Ls(args) => ls::run(&args),
            Command::Rm(args) => rm::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}
