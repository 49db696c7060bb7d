//! Evaluators that are C libraries, made or installed by `benches/peers/models.sh`, each asked for one row at a time.

pub(crate) mod onnxruntime;
pub(crate) mod tl2cgen;
