//! Printing results. A reader that has seen enough (`| head`) ends the program quietly instead of with a panic.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes to standard output; ends the program when nobody reads any more.
pub fn write(text: Arguments<'_>) {
    let written = io::stdout().lock().write_fmt(text);
    if let Err(error) = written {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}

/// `println!` through [`write`].
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;
