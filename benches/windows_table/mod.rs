//! The parts of the table: what is asked for, who takes part, one file for each section, and how it is printed.
//!
//! What must hold here: a section gives its rows and prints nothing, so that people and programs are told the same.

pub(crate) mod accuracy;
pub(crate) mod counting;
pub(crate) mod field;
pub(crate) mod growth;
pub(crate) mod hottest;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod plain_list;
pub(crate) mod size;
pub(crate) mod snapshot;
