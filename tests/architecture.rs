//! The floors of the house: a room imports only from rooms on lower floors.
//!
//! [`FLOORS`] is the one table. `src/lib.rs` must list the same rooms in the same order, and `ARCHITECTURE.md`, where there is
//! one, must name every room. Besides: what a `mod.rs` may hold, how long a file may be, and which rooms may not look at a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of every floor, from the lowest up.
const FLOORS: [&[&str]; 9] = [
    &["domain"],
    &["expr", "model", "privacy", "proof", "simulate", "window", "wire"],
    &["feature"],
    &["rules"],
    &["audit", "engine", "enrich", "ip"],
    &["archive", "evaluation", "forward", "policy_archive", "search"],
    &["offline", "pipeline"],
    &["http", "redecide"],
    &["cli", "config"],
];
/// The one neighbour on its own floor that a room may import: only the command line reads the settings.
const NEIGHBOUR: (&str, &str) = ("cli", "config");
/// Rooms whose result depends on their arguments alone, and the only file in them that may look at a clock.
const DETERMINISTIC: [&str; 7] = ["domain", "expr", "model", "window", "feature", "rules", "engine"];
const CLOCK: &str = "src/domain/time.rs";
/// A file longer than this is two files.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `src`, by its path from the root, with its text.
fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.sort();
    assert!(files.len() > 100, "the sources were not found");
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The room that a file belongs to; `None` for the crate's own `lib.rs`, `main.rs` and the like.
fn room_of(file: &str) -> Option<&str> {
    let (room, _) = file.strip_prefix("src/")?.split_once('/')?;
    floor_of(room).map(|_| room)
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_import(from: &str, to: &str) -> bool {
    from == to || floor_of(to) < floor_of(from) || (from, to) == NEIGHBOUR
}

/// The text without comments and without what stands in string literals; lines keep their numbers.
fn code(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let (mut at, mut out) = (0, String::with_capacity(text.len()));
    let keep_lines = |part: &[char], out: &mut String| out.extend(part.iter().filter(|c| **c == '\n'));
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            rest.windows(2).position(|pair| pair == ['*', '/']).map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest, bytes[..at].last()) {
            length
        } else if rest[0] == '"' {
            let mut end = 1;
            while end < rest.len() && rest[end] != '"' {
                end += if rest[end] == '\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if rest[0] == '\'' && rest.get(1) == Some(&'\\') {
            rest[3..].iter().position(|c| *c == '\'').map_or(rest.len(), |end| end + 4)
        } else if rest[0] == '\'' && rest.get(2) == Some(&'\'') {
            3
        } else {
            out.push(rest[0]);
            at += 1;
            continue;
        };
        keep_lines(&rest[..length], &mut out);
        at += length;
    }
    out
}

/// How long a raw string is that begins here.
fn raw_string(rest: &[char], before: Option<&char>) -> Option<usize> {
    if rest.first() != Some(&'r') || before.is_some_and(|c| c.is_alphanumeric() && *c != 'b' || *c == '_') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = 2 + hashes;
    let end = rest[body..].windows(close.len()).position(|part| part == close);
    Some(end.map_or(rest.len(), |end| body + end + close.len()))
}

/// Every room that `crate::` leads to in a text, with the line: also inside `crate::{a::b, c::{d, e}}`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..start].matches('\n').count() + 1;
        let rest = code[start + "crate::".len()..].trim_start();
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, word(rest)));
            continue;
        };
        let (mut depth, mut expects) = (0_usize, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects = true,
                _ if expects && !c.is_whitespace() => {
                    expects = false;
                    found.push((line, word(&group[at..])));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_guard_sees_what_it_should() {
    let rooms = |text: &str| imports(&code(text)).into_iter().map(|(_, room)| room).collect::<Vec<_>>();
    for (text, expected) in [
        ("use crate::domain::money::Money;", vec!["domain"]),
        ("use crate::{domain::a, rules::{b, c::{d, e}}, cli};", vec!["domain", "rules", "cli"]),
        ("use crate::{\n    http::port,\n    wire,\n};", vec!["http", "wire"]),
        ("fn f() -> crate::audit::X { crate::engine::y() }", vec!["audit", "engine"]),
        ("// use crate::cli::x;\n/* crate::http */ let s = \"crate::cli\";", vec![]),
        ("let s = r#\"\"crate::cli\"#; let c = '\"'; crate::wire::x(c)", vec!["wire"]),
        ("use mycrate::domain;", vec![]),
    ] {
        assert_eq!(rooms(text), expected, "{text}");
    }
    for (from, to, allowed) in [
        ("rules", "domain", true),
        ("rules", "rules", true),
        ("cli", "config", true),
        ("config", "cli", false),
        ("domain", "expr", false),
        ("window", "model", false),
        ("engine", "audit", false),
        ("offline", "pipeline", false),
    ] {
        assert_eq!(may_import(from, to), allowed, "{from} -> {to}");
    }
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some(room) = room_of(&file) else { continue };
        for (line, to) in imports(&code(&text)) {
            if floor_of(&to).is_none() || !may_import(room, &to) {
                wrong.push(format!("{file}:{line}: {room} may not import {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn super_never_leaves_its_room() {
    for (file, text) in sources() {
        if room_of(&file).is_none() {
            continue;
        }
        // Directories below the room, one more for a file that is not a mod.rs, and one for a module inside the file.
        let depth = file.matches('/').count() - 1 + usize::from(!file.ends_with("/mod.rs"));
        for (number, line) in code(&text).lines().enumerate() {
            let ups = line.matches("super::").count();
            let chained = line.contains("super::super::");
            assert!(!chained || ups <= depth, "{file}:{}: super:: leaves the room", number + 1);
        }
    }
}

#[test]
fn the_table_agrees_with_lib_rs_and_the_map() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut floors: Vec<Vec<&str>> = vec![Vec::new()];
    for line in lib.lines() {
        match line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(room) => floors.last_mut().unwrap().push(room),
            None if floors.last().is_some_and(|floor| !floor.is_empty()) => floors.push(Vec::new()),
            None => {}
        }
    }
    floors.retain(|floor| !floor.is_empty());
    assert_eq!(floors, FLOORS.map(<[&str]>::to_vec), "src/lib.rs and FLOORS");

    let directories: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(directories, FLOORS.concat().iter().map(|room| (*room).to_owned()).collect());

    // The map is written last; while there is none, there is nothing to disagree with.
    let Ok(map) = fs::read_to_string(root().join("ARCHITECTURE.md")) else { return };
    for room in FLOORS.concat() {
        assert!(map.contains(&format!("`{room}`")), "ARCHITECTURE.md does not name `{room}`");
    }
}

#[test]
fn nothing_is_left_to_do() {
    for (file, text) in sources() {
        let code = code(&text);
        for word in ["todo!", "unimplemented!", "dbg!"] {
            assert!(!code.contains(word), "{file} holds {word}");
        }
    }
}

#[test]
fn a_room_opens_with_its_doc_and_has_no_logic() {
    for room in FLOORS.concat() {
        let file = format!("src/{room}/mod.rs");
        let text = fs::read_to_string(root().join(&file)).unwrap();
        assert!(text.starts_with("//! "), "{file} does not begin with what it is for");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let is_declaration =
                (line.starts_with("pub mod ") || line.starts_with("mod ")) && line.ends_with(';');
            assert!(
                line.starts_with("//") || line.starts_with("#[") || is_declaration,
                "{file}: `{line}` belongs in a file of its own"
            );
        }
    }
}

#[test]
fn files_are_short_and_begin_with_what_they_are_for() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines, more than {LINES_MAX}");
        if lines > 500 {
            println!("{file}: {lines} lines");
        }
        assert!(text.starts_with("//!"), "{file} does not begin with //!");
    }
}

#[test]
fn the_library_exports_no_wildcards() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(!code(&lib).contains("::*"), "src/lib.rs exports a wildcard");
}

#[test]
fn deterministic_rooms_see_no_clock_and_no_chance() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let is_deterministic = room_of(&file).is_some_and(|room| DETERMINISTIC.contains(&room));
        if file == CLOCK || file.ends_with("_tests.rs") || !is_deterministic {
            continue;
        }
        // Tests may draw numbers from a seed.
        let served = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code(served).lines().enumerate() {
            for word in [
                "Instant::now",
                "SystemTime",
                "Timestamp::now",
                "Zoned::now",
                "rand::",
                "rand_chacha::",
                "thread_rng",
            ] {
                if line.contains(word) {
                    wrong.push(format!("{file}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
