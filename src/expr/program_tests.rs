//! Facts about evaluation.
