//! One file for each command: its arguments, and what it does.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod doctor;
pub(crate) mod dump;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod recv;
pub(crate) mod repair;
pub(crate) mod rm;
pub(crate) mod salvage;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod stat;
pub(crate) mod top;
pub(crate) mod verify;
