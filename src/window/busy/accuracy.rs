//! How far busy keys are from the truth.
