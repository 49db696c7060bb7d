//! The history of one ordinary key: one run of bytes, so that a visit waits for memory once.
//!
//! ```text
//! header 16 | dictionary 4 x D | words 8 x N | marks 2 x N | live L x N | values S x N | high 4 x N | places 8 x N | currencies 1 x N
//! ```
//!
//! `N` events in the order of their time; of equal times, the one recorded later stands later. A word is the time, in 40 bits of
//! milliseconds after the header's base, above the lower 24 bits of the amount. A mark is flags and tag. The values of each of
//! `S` attributes are a column of their own, as positions in the dictionary, from 1; 0 is missing. A live bit for each attribute
//! says that no later event has the same value: so the different values of a window that ends now are a count of bits. The last three
//! columns are there only in blocks that need them: amounts of 2^24 minor units or more, places, a second currency.
//!
//! What does not fit (more than 255 events or values, 34 years) is for `busy`.

pub(crate) mod insert;
pub(crate) mod look_up;
pub(crate) mod rows;
pub(crate) mod shape;
pub(crate) mod view;
