//! What the benches of a decision share, and the test that counts its allocations: the shipped model and rules, payments of the simulator over
//! windows that know who pays, and each stage as a function.

pub(crate) mod inputs;
pub(crate) mod work;
