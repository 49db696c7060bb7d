//! What local files say of an Internet address: country, operator, and the lists that it is on.
//!
//! - Everything is read into memory and checked before it is used; a lookup does no IO and waits for nothing.
//! - A file with a mistake is refused whole, with its line. What was read before is the caller's to keep.
//! - An address of a reserved block is not looked up: no country, no operator, and only lists that ask for such addresses.
//! - Every count and length has a named bound (`files`).

pub mod database;
pub mod files;
pub mod knowledge;
pub mod list_file;
pub mod ranges;

#[cfg(test)]
mod database_tests;
#[cfg(test)]
mod knowledge_tests;
