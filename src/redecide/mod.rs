//! Every recorded decision made again from the log and the policies that its records name, and held against what was recorded, bit for
//! bit; and the windows counted anew from the log alone, and held against every feature of every decision.
//!
//! What must hold here:
//! - [`crate::engine::judge`] decides, and [`crate::engine::observe`] counts: nothing is computed in another way than live.
//! - No record is passed by in silence: it is the same, it differs, or it is counted by the reason for which it cannot be made again.
//! - The result does not depend on the number of threads or on their order.
//! - Nothing is written: a log, its archive and its secret can be on read-only storage, and a service may be writing them.
//!
//! Walk: [`run`] gives segments to threads; each reads its records, [`decision`] makes one again with a policy of [`policies`], and
//! [`compare`] says what differs; [`challenged`] does the same for the scores of challengers. [`rebuild`] is the one pass in order
//! that counts windows. All of it adds up in [`report`].

pub mod challenged;
pub mod compare;
pub mod decision;
pub mod policies;
pub mod rebuild;
pub mod report;
pub mod run;
pub mod window_state;

#[cfg(test)]
mod tests;
