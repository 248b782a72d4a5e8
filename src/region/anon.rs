//! Anonymous rings: memory files whose descriptor stays in the object and is inherited by `fork`.
//!
//! The file is sealed like any other memory file, so the two ends get the same protection and the
//! same locks; each attaches after the fork, through a description of its own.

use super::{Backing, Fill, Object, memfd};
use crate::error::OpenError;
use crate::options::CreatePlan;

pub(super) fn create(plan: &CreatePlan, fill: Fill<'_>) -> Result<Object, OpenError> {
    memfd::create("ringduct", Backing::Anonymous, plan, fill)
}
