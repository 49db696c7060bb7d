//! A seeded simulator of card payments: who pays, to whom, from where, and which of it is fraud.
//!
//! It makes training data for the shipped model, test traffic and the load generator's traffic. What must hold here:
//!
//! - The same parameters give the same bytes on every machine. Random draws come from ChaCha8 streams through `draw`, whose
//!   transcendental functions are `libm`'s and not the platform's; nothing iterates over a hash map; nothing reads a clock.
//! - Transactions come out in order of event time, and memory is the world plus one day of traffic.
//! - Nothing real is named: addresses are private, shared or documentation ranges, user agents are generic, and no identifier
//!   can be taken for a card number.
//! - Nothing in a transaction says whether it is fraud: fraudulent and legitimate ones pass through the same renderer, and
//!   the truth stands beside the transaction, never in it.
//!
//! `README.md` in this folder publishes every parameter and describes the scenarios.

mod cast;
mod catalogue;
mod draw;
mod fraud;
mod network;
mod plan;
mod purchase;
mod scenarios;
mod traffic;
mod world;

pub mod labels;
pub mod parameters;
pub mod simulation;

#[cfg(test)]
mod honesty;
