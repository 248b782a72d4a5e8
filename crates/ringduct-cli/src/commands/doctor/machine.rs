//! Processors: how many, and which share a core.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Finding, Level};
use crate::cores;

pub(super) fn processors() -> Finding {
    let allowed = cores::allowed();
    let groups: BTreeSet<Vec<usize>> = allowed.iter().map(|cpu| cores::siblings(*cpu)).collect();
    let virtual_machine = cores::virtual_machine();
    let model = cores::model();
    let found = format!(
        "{model}: may use {} processors on {} cores{}",
        allowed.len(),
        groups.len(),
        if virtual_machine {
            ", in a virtual machine"
        } else {
            ""
        },
    );
    let data = json!({
        "model": model,
        "allowed": allowed,
        "cores": groups,
        "virtual_machine": virtual_machine,
        "suggested": cores::two(),
    });
    let finding = Finding::new("processors", found, data);
    if allowed.len() < 2 {
        return finding.at(
            Level::Warning,
            "both sides take turns on one: never let them only spin (Wait::Spin), and give them two \
             (taskset, docker run --cpuset-cpus, AllowedCPUs= of a unit)",
        );
    }
    let apart = match cores::two() {
        Some([first, second]) => format!("taskset -c {first} and taskset -c {second}"),
        None => "taskset".to_owned(),
    };
    if groups.len() < 2 {
        return finding.at(
            Level::Note,
            "all are threads of one core: short round trips, and the sides share its power",
        );
    }
    if virtual_machine {
        return finding.at(
            Level::Note,
            format!("the host may move them, so that figures differ between runs; to pin: {apart}"),
        );
    }
    finding.at(
        Level::Good,
        format!("to keep the sides on two cores: {apart}"),
    )
}
