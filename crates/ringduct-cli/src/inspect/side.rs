//! One side of a ring: whether its role is held, by the kernel's word, and who says to hold it.

use ringduct::{PeerState, SideSnapshot};

use super::show;
use crate::failure::holder;

/// Whether somebody holds the role.
pub(crate) fn is_held(side: &SideSnapshot) -> bool {
    matches!(side.state, PeerState::Attached | PeerState::Stopped)
}

/// One word for how things stand: stable, for programs.
pub(crate) fn word(state: PeerState) -> &'static str {
    match state {
        PeerState::Absent => "absent",
        PeerState::Attached => "attached",
        PeerState::Stopped => "stopped",
        PeerState::Closed => "closed",
        PeerState::Gone => "gone",
        _ => "unknown",
    }
}

/// The program of whoever says to hold the role, and whether the kernel knows a process of that id
/// here. A hint in either case.
pub(crate) fn program(side: &SideSnapshot) -> (String, &'static str) {
    match holder::program(side.holder.pid) {
        Some(program) => (program, "kernel"),
        None => (side.holder.program.clone(), "ring"),
    }
}

/// The holder in a few characters: `1234 name`, or what became of the last one.
pub(crate) fn brief(side: &SideSnapshot) -> String {
    if is_held(side) {
        let (program, _) = program(side);
        format!("{} {}", side.holder.pid, show::name(&program))
    } else if side.state == PeerState::Absent {
        "-".to_owned()
    } else {
        word(side.state).to_owned()
    }
}

/// The same with all that is known.
pub(crate) fn full(side: &SideSnapshot) -> String {
    if is_held(side) {
        format!("{}, {}", side.state, holder::describe(&side.holder))
    } else {
        side.state.to_string()
    }
}
