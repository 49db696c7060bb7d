//! Personal data made unreadable on request: a key for each person, and what is sealed with it. `README.md` here says what is sealed,
//! what stays in clear and why, and how keys are backed up.
//!
//! What must hold here:
//! - A key is drawn at random, is written before anybody seals with it, and its number is never given to another.
//! - A key that was destroyed is overwritten and synced; nothing that was sealed with it can be opened again, wherever it was copied to.
//! - The file of keys names nobody: a keyed hash stands for the person.
//! - A sealed part opens only as what it was sealed as: log, kind and id are bound to it.
//! - A file of keys torn at any byte is read without a mistake about whose key it is: an entry is whole, erased or lost.
//!
//! Walk: `subject` says whose data it is; `entry` is a key on disk; `key_file` reads keys; `key_store` gives and destroys them; `seal`
//! seals and opens.

pub mod entry;
pub mod keeper;
pub mod key_file;
pub mod key_store;
pub mod seal;
pub mod subject;

#[cfg(test)]
#[path = "key_store_tests.rs"]
mod key_store_tests;
