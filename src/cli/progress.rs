//! Progress bars for long work: on a terminal only, so that logs and pipes stay clean.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` bytes.
pub fn bytes(what: &'static str, total: u64) -> ProgressBar {
    styled(what, total, "{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
}

/// A bar over `total` things; without a total a counter.
pub fn things(what: &'static str, total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => styled(what, total, "{msg} [{bar:40}] {human_pos}/{human_len} {per_sec} {eta} left"),
        None => styled(what, 0, "{msg} {spinner} {human_pos} {per_sec}"),
    }
}

fn styled(what: &'static str, total: u64, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Shows how far reading has come.
pub fn tick(bar: &ProgressBar, progress: &crate::offline::input::Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_position(progress.done);
}
