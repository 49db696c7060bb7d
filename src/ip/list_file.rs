//! Lists as the common feeds publish them: one address or block a line, IPv4 and IPv6 together.
//!
//! - `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`, and `203.0.113.7-203.0.113.9` for what is no block;
//! - comments behind `#` or `;`, also at the end of a line: FireHOL's netsets, Tor's exits, Spamhaus DROP (`CIDR ; SBL123`);
//! - a JSON object a line whose `cidr` is the block, as Spamhaus publishes DROP; objects without one (its last line) say nothing.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::ip::files::{IpError, LIST_ENTRIES_MAX, MISTAKES_MAX};

/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 4_096;

/// From the first address to the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressRange {
    /// Of version 4.
    V4(u32, u32),
    /// Of version 6.
    V6(u128, u128),
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    cidr: Option<&'a str>,
}

/// Reads a whole list; every mistake is reported at once, up to `MISTAKES_MAX`. A list without an entry is one: half a download.
pub fn parse(file: &Path, bytes: &[u8]) -> Result<Vec<AddressRange>, Vec<IpError>> {
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    let wrong =
        |line: usize, message: String| IpError { file: file.to_owned(), line: Some(line as u64), message };
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let read = match std::str::from_utf8(line) {
            Ok(line) if line.len() <= LINE_BYTES_MAX => parse_line(line),
            Ok(_) => Err(format!("is longer than {LINE_BYTES_MAX} bytes")),
            Err(_) => Err("is no text in UTF-8".to_owned()),
        };
        match read {
            Ok(None) => {}
            Ok(Some(_)) if entries.len() >= LIST_ENTRIES_MAX => {
                let message =
                    format!("is entry number {}; at most {LIST_ENTRIES_MAX} are held", entries.len() + 1);
                return Err(vec![wrong(number + 1, message)]);
            }
            Ok(Some(entry)) => entries.push(entry),
            Err(message) => mistakes.push(wrong(number + 1, message)),
        }
        if mistakes.len() >= MISTAKES_MAX {
            break;
        }
    }
    if mistakes.is_empty() && entries.is_empty() {
        mistakes.push(IpError::whole(file, "holds no address"));
    }
    if mistakes.is_empty() { Ok(entries) } else { Err(mistakes) }
}

/// What a line says; `None` for a comment or an empty one.
fn parse_line(line: &str) -> Result<Option<AddressRange>, String> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.starts_with('{') {
        let object: JsonLine<'_> =
            serde_json::from_str(line).map_err(|error| format!("is no JSON object with a cidr: {error}"))?;
        return object.cidr.map(parse_range).transpose();
    }
    let entry = line.split(['#', ';']).next().unwrap_or_default().trim();
    if entry.is_empty() { Ok(None) } else { parse_range(entry).map(Some) }
}

fn parse_range(text: &str) -> Result<AddressRange, String> {
    let wrong = || {
        let shown: String = text.chars().take(60).collect();
        format!("{shown:?} is no address and no block such as 198.51.100.0/24 or 2001:db8::/32")
    };
    if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = address.trim_end().parse().map_err(|_| wrong())?;
        let length: u32 = length.trim_start().parse().map_err(|_| wrong())?;
        return block(address, length)
            .ok_or_else(wrong)?
            .ok_or_else(|| format!("{text:?} is every address there is"));
    }
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.trim_end().parse().map_err(|_| wrong())?;
        let last: IpAddr = last.trim_start().parse().map_err(|_| wrong())?;
        return match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                Ok(AddressRange::V4(first.to_bits(), last.to_bits()))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                Ok(AddressRange::V6(first.to_bits(), last.to_bits()))
            }
            _ => Err(wrong()),
        };
    }
    let address: IpAddr = text.parse().map_err(|_| wrong())?;
    Ok(match address.to_canonical() {
        IpAddr::V4(address) => AddressRange::V4(address.to_bits(), address.to_bits()),
        IpAddr::V6(address) => AddressRange::V6(address.to_bits(), address.to_bits()),
    })
}

/// The block with that prefix; bits behind the prefix do not matter. The outer `None`: no such length; the inner one: all addresses.
fn block(address: IpAddr, length: u32) -> Option<Option<AddressRange>> {
    let (address, length) = match (address, address.to_canonical()) {
        // ::ffff:198.51.100.0/120 is 198.51.100.0/24.
        (IpAddr::V6(_), IpAddr::V4(mapped)) if length >= 96 => (IpAddr::V4(mapped), length - 96),
        (written, _) => (written, length),
    };
    match address {
        IpAddr::V4(address) if length <= 32 => Some((length > 0).then(|| {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = address.to_bits() & !host;
            AddressRange::V4(first, first | host)
        })),
        IpAddr::V6(address) if length <= 128 => Some((length > 0).then(|| {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = address.to_bits() & !host;
            AddressRange::V6(first, first | host)
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(range: AddressRange) -> String {
        let (first, last): (IpAddr, IpAddr) = match range {
            AddressRange::V4(first, last) => (IpAddr::V4(first.into()), IpAddr::V4(last.into())),
            AddressRange::V6(first, last) => (IpAddr::V6(first.into()), IpAddr::V6(last.into())),
        };
        if first == last { first.to_string() } else { format!("{first} {last}") }
    }

    #[test]
    fn lines_of_the_common_feeds_are_read() {
        let facts = [
            ("", None),
            ("   \r", None),
            ("# FireHOL: firehol_level1", None),
            ("; Spamhaus DROP List 2026/10/20", None),
            ("\u{feff}# with a byte order mark", None),
            ("198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.7\r", Some("198.51.100.7")),
            ("198.51.100.7 # an exit", Some("198.51.100.7")),
            ("1.10.16.0/20 ; SBL256894", Some("1.10.16.0 1.10.31.255")),
            ("10.1.2.3/8", Some("10.0.0.0 10.255.255.255")),
            ("198.51.100.7/32", Some("198.51.100.7")),
            ("2001:db8::/32 ; SBL1", Some("2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:198.51.100.7", Some("198.51.100.7")),
            ("::ffff:198.51.100.0/120", Some("198.51.100.0 198.51.100.255")),
            ("198.51.100.7-198.51.100.9", Some("198.51.100.7 198.51.100.9")),
            ("2001:db8::1 - 2001:db8::3", Some("2001:db8::1 2001:db8::3")),
            (r#"{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}"#, Some("1.10.16.0 1.10.31.255")),
            (r#"{"type":"metadata","timestamp":1760000000,"records":2}"#, None),
        ];
        for (line, expected) in facts {
            assert_eq!(parse_line(line).unwrap().map(shown).as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_that_are_none_are_named_with_their_number() {
        let facts = [
            "198.51.100",
            "198.51.100.7/33",
            "198.51.100.7/",
            "2001:db8::/129",
            "/8",
            "host.example",
            "0.0.0.0/0",
            "::/0",
            "198.51.100.9-198.51.100.7",
            "198.51.100.7-::1",
            "<html>",
            "{\"cidr\": 7}",
            "{\"cidr\": \"",
            "::ffff:0.0.0.0/96",
            "198.51.100.7 198.51.100.8",
        ];
        for line in facts {
            let text = format!("# comment\n198.51.100.1\n{line}\n198.51.100.2\n");
            let mistakes = parse(Path::new("lists/a.txt"), text.as_bytes()).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{line}");
            assert!(mistakes[0].to_string().starts_with("lists/a.txt:3: "), "{}", mistakes[0]);
        }
        let many = "wrong\n".repeat(MISTAKES_MAX + 5);
        assert_eq!(parse(Path::new("a"), many.as_bytes()).unwrap_err().len(), MISTAKES_MAX);
        assert_eq!(parse(Path::new("a"), b"\xff\xfe\n").unwrap_err()[0].line, Some(1));
        assert_eq!(parse(Path::new("a"), b"# only\n").unwrap_err()[0].to_string(), "a: holds no address");
    }
}
