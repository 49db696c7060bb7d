//! The history of a busy key: a large merchant, a shared IP address, a card under attack. It answers in the same time however many
//! events it has seen, from a bounded number of bytes.
//!
//! What is exact, and what is not but bounded, stands in the documentation of `window`.

pub(crate) mod history;

mod groups;
mod search;
mod values;

#[cfg(test)]
mod accuracy_tests;
