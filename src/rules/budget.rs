//! How much the rules that matched may say in one decision, so that no set of rules makes a record too long to be written.

/// Most reasons of rules in one decision: the most decisive ones.
pub const REASONS_MAX: usize = 512;
/// Most hits that one decision names: the one that decided, and others in the order of the files.
pub const HITS_MAX: usize = 2_048;
/// About how many bytes of JSON all messages of one decision may have; those beyond are left out, but for the first one.
pub const MESSAGES_BYTES_MAX: usize = 128 * 1024;
/// About how many bytes of JSON the values may have that all hits of one decision name; hits beyond it, in file order, name none.
pub const VALUES_BYTES_MAX: usize = 128 * 1024;

/// Bytes that are left.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    /// So many.
    pub const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes bytes, if so many are left; else nothing is left.
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// How many bytes a text has within a JSON text.
pub fn json_bytes(text: &str) -> usize {
    let of_byte = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of_byte).sum::<usize>() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_json() {
        for text in ["", "ä", "a\"b", "\\", "\u{1}x\u{1f}"] {
            assert!(json_bytes(text) >= serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
        assert_eq!(json_bytes("plain"), 7);
    }

    #[test]
    fn what_does_not_fit_leaves_nothing() {
        let mut budget = Budget::new(10);
        assert_eq!([4, 6, 0, 1, 0].map(|bytes| budget.take(bytes)), [true, true, true, false, true]);
        let mut budget = Budget::new(10);
        assert_eq!([11, 1].map(|bytes| budget.take(bytes)), [false, false]);
    }
}
