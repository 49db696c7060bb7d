//! What local files say of an Internet address: country, operator, and the lists that it is on.
//!
//! - Everything is read into memory and checked before it is used; a lookup does no IO and waits for nothing.
//! - A file with a mistake is refused whole, with its line. What was read before is the caller's to keep.
//! - An address of a reserved block is not looked up: no country, no operator, and only lists that ask for such addresses.
//! - Every count and length has a named bound (`files`).
//!
//! What a lookup costs, with the two test databases, by the length of one list (`cargo bench --bench enrich_table -- --sections ip`, on a
//! shared virtual core; looking at every entry of the longest takes 46 us):
//!
//! | addresses on the list | 0 | 1,000 | 100,000 | 1,000,000 |
//! |---|---|---|---|---|
//! | a lookup, ns | 56 | 75 | 145 | 914 |
//! | reading it, ms | | 0.5 | 37 | 316 |

pub mod database;
pub mod files;
pub mod knowledge;
pub mod list_file;
pub mod ranges;

#[cfg(test)]
mod database_tests;
#[cfg(test)]
mod knowledge_tests;
