//! Tests of the tree, its proofs and its formats.

use proptest::prelude::*;

use crate::proof::bundle::{ConsistencyProof, InclusionProof, Proof, ProofError};
use crate::proof::checkpoint::{Checkpoint, CheckpointError};
use crate::proof::hash::TreeHash;
use crate::proof::key::{KeyError, KeyFileError, SignerKey, Signers, VerifierKey};
use crate::proof::note::{self, Note, NoteError};
use crate::proof::path::{self, Nodes, PathError};
use crate::proof::range::Range;
use crate::proof::tile::{Tile, TileKind};
use crate::proof::tiles::{TILE_DIRECTORY, TileReader, TileWriter, read_tile};

/// The definition of RFC 6962, section 2.1, word for word.
fn naive_root(leaves: &[TreeHash]) -> TreeHash {
    match leaves.len() {
        0 => TreeHash::empty(),
        1 => leaves[0],
        size => {
            let split = size.next_power_of_two() / 2;
            TreeHash::node(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

/// Section 2.1.1.
fn naive_inclusion(index: usize, leaves: &[TreeHash]) -> Vec<TreeHash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (mut path, other) = if index < split {
        (naive_inclusion(index, &leaves[..split]), naive_root(&leaves[split..]))
    } else {
        (naive_inclusion(index - split, &leaves[split..]), naive_root(&leaves[..split]))
    };
    path.push(other);
    path
}

/// Section 2.1.2: SUBPROOF.
fn naive_consistency(old: usize, leaves: &[TreeHash], is_old_root: bool) -> Vec<TreeHash> {
    if old == leaves.len() {
        return if is_old_root { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (mut path, other) = if old <= split {
        (naive_consistency(old, &leaves[..split], is_old_root), naive_root(&leaves[split..]))
    } else {
        (naive_consistency(old - split, &leaves[split..], false), naive_root(&leaves[..split]))
    };
    path.push(other);
    path
}

struct InMemory<'a>(&'a [TreeHash]);

impl Nodes for InMemory<'_> {
    type Error = std::convert::Infallible;

    fn node(&mut self, level: u8, index: u64) -> Result<TreeHash, Self::Error> {
        let first = usize::try_from(index).unwrap() << level;
        Ok(TreeHash::perfect(&self.0[first..first + (1 << level)]))
    }
}

fn entry(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn leaves(number: u64) -> Vec<TreeHash> {
    (0..number).map(|number| TreeHash::leaf(&entry(number))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The roots that implementations of RFC 6962 test themselves with.
#[test]
fn known_roots_come_out() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut range = Range::new(0);
    assert_eq!(hex(&range.root().unwrap().0), roots[0]);
    for (entry, root) in entries.iter().zip(&roots[1..]) {
        range.push_leaf(TreeHash::leaf(entry));
        assert_eq!(hex(&range.root().unwrap().0), *root);
    }
}

proptest! {
    #[test]
    fn ranges_hashed_apart_give_the_root(size in 0_u64..700, cuts in proptest::collection::vec(0_u64..700, 0..5)) {
        let leaves = leaves(size);
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(size)).chain([0, size]).collect();
        cuts.sort_unstable();
        let mut whole = Range::new(0);
        for pair in cuts.windows(2) {
            let mut part = Range::new(pair[0]);
            for leaf in &leaves[usize::try_from(pair[0]).unwrap()..usize::try_from(pair[1]).unwrap()] {
                part.push_leaf(*leaf);
            }
            prop_assert_eq!(part.root().is_some(), pair[0] == 0);
            prop_assert!(whole.merge(&part));
        }
        prop_assert_eq!(whole.end(), size);
        prop_assert_eq!(whole.root(), Some(naive_root(&leaves)));
        prop_assert!(!whole.merge(&Range::new(size + 1)));
    }

    #[test]
    fn inclusion_is_proven_and_nothing_else(
        (size, index) in (1_u64..300).prop_flat_map(|size| (Just(size), 0..size)),
        other in 0_u64..300,
        flip in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(size);
        let at = usize::try_from(index).unwrap();
        let root = naive_root(&leaves);
        let path = path::inclusion(&mut InMemory(&leaves), index, size).unwrap();
        prop_assert_eq!(&path, &naive_inclusion(at, &leaves));
        prop_assert_eq!(path::check_inclusion(leaves[at], index, size, &path, root), Ok(()));
        if other != index {
            prop_assert!(path::check_inclusion(leaves[at], other, size, &path, root).is_err());
        }
        let mut longer = path.clone();
        longer.push(root);
        prop_assert!(path::check_inclusion(leaves[at], index, size, &longer, root).is_err());
        if !path.is_empty() {
            prop_assert!(path::check_inclusion(leaves[at], index, size, &path[1..], root).is_err());
            let mut wrong = path.clone();
            wrong[flip.index(path.len())].0[flip.index(32)] ^= 1;
            prop_assert!(path::check_inclusion(leaves[at], index, size, &wrong, root).is_err());
        }
    }

    #[test]
    fn consistency_is_proven_and_nothing_else(
        (new, old) in (1_u64..300).prop_flat_map(|new| (Just(new), 1..=new)),
        change in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(new);
        let old_leaves = &leaves[..usize::try_from(old).unwrap()];
        let (old_root, new_root) = (naive_root(old_leaves), naive_root(&leaves));
        let path = path::consistency(&mut InMemory(&leaves), old, new).unwrap();
        prop_assert_eq!(&path, &naive_consistency(old_leaves.len(), &leaves, true));
        prop_assert_eq!(path::check_consistency((old, old_root), (new, new_root), &path), Ok(()));
        // An old tree with one other entry.
        let mut others = old_leaves.to_vec();
        let place = change.index(others.len());
        others[place] = TreeHash::leaf(b"another");
        prop_assert!(path::check_consistency((old, naive_root(&others)), (new, new_root), &path).is_err());
        if !path.is_empty() {
            prop_assert!(path::check_consistency((old, old_root), (new, new_root), &path[1..]).is_err());
            let mut wrong = path.clone();
            wrong[change.index(path.len())].0[0] ^= 1;
            prop_assert!(path::check_consistency((old, old_root), (new, new_root), &wrong).is_err());
        }
    }

    #[test]
    fn names_of_tiles_are_read_back(
        kind in prop_oneof![(0_u8..8).prop_map(TileKind::Hashes), Just(TileKind::Entries)],
        index in prop_oneof![0_u64..2_000_000, any::<u64>()],
        width in 1_u64..=256,
    ) {
        let tile = Tile { kind, index, width };
        prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "(c2sp.org/tlog-proof@v1|old 3)?[\n0-9a-zA-Z+/=\u{2014} .]{0,80}") {
        let _ = Tile::parse(&text);
        let _ = Proof::parse(&text);
        let _ = Checkpoint::read_unverified(&text);
        let _ = text.parse::<VerifierKey>();
    }
}

#[test]
fn tiles_have_the_names_of_the_specification() {
    for (kind, index, width, name) in [
        (TileKind::Hashes(0), 0, 256, "0/000"),
        (TileKind::Hashes(0), 1_234_067, 256, "0/x001/x234/067"),
        (TileKind::Hashes(1), 1, 17, "1/001.p/17"),
        (TileKind::Entries, 999, 1, "entries/999.p/1"),
        (TileKind::Entries, 1_000, 256, "entries/x001/000"),
    ] {
        assert_eq!(Tile { kind, index, width }.to_string(), name);
    }
    for wrong in [
        "",
        "0",
        "0/",
        "0/0",
        "0/0000",
        "0/x000/001",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "8/000",
        "00/000",
        "0/../000",
        "0/000/",
        "0/x001/x000",
        "0/+00",
        "entries/000.new",
        "data/000",
        "0/000.p/1/2",
    ] {
        assert_eq!(Tile::parse(wrong), None, "{wrong}");
    }
    // The example of the specification: a tree of 70,000 entries.
    let width = |level, index| Tile::of_tree(TileKind::Hashes(level), index, 70_000).map(|tile| tile.width);
    assert_eq!((width(0, 272), width(0, 273), width(0, 274)), (Some(256), Some(112), None));
    assert_eq!((width(1, 0), width(1, 1), width(2, 0), width(3, 0)), (Some(256), Some(17), Some(1), None));
}

#[test]
fn a_tree_in_tiles_is_the_tree() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path();
    let all = leaves(66_000);
    let mut writer = TileWriter::new(tree);
    let mut root = Range::new(0);
    let mut checked = Vec::new();
    for number in 0..66_000 {
        writer.push(&entry(number)).unwrap();
        root.push_leaf(all[usize::try_from(number).unwrap()]);
        let size = number + 1;
        if [1, 2, 255, 256, 257, 511, 512, 40_000, 65_535, 65_536, 65_537, 66_000].contains(&size) {
            assert_eq!(Some(writer.root()), root.root(), "{size}");
            writer.write_partial().unwrap();
            let opened = TileWriter::open(tree, size).unwrap();
            assert_eq!((opened.size(), opened.root()), (size, writer.root()), "{size}");
            // Goes on as if it had never been closed.
            if size % 2 == 0 {
                writer = opened;
            }
            checked.push((size, writer.root()));
        }
    }
    // Trees of before are still there, also where their partial tiles are gone.
    for (size, root) in checked {
        assert_eq!(path::root(&mut TileReader::new(tree, size), size).unwrap(), root, "{size}");
        assert_eq!(TileWriter::open(tree, size).unwrap().root(), root, "{size}");
        let mut reader = TileReader::new(tree, 66_000);
        let path = path::consistency(&mut reader, size, 66_000).unwrap();
        path::check_consistency((size, root), (66_000, writer.root()), &path).unwrap();
        let path = path::inclusion(&mut reader, size - 1, 66_000).unwrap();
        let leaf = TreeHash::leaf(&entry(size - 1));
        path::check_inclusion(leaf, size - 1, 66_000, &path, writer.root()).unwrap();
    }
    let entries = Tile::of_tree(TileKind::Entries, 257, 66_000).unwrap();
    assert_eq!(entries.width, 208);
    let bytes = read_tile(&tree.join(TILE_DIRECTORY), entries).unwrap();
    assert_eq!(bytes[..2], [0, 32]);
    assert_eq!(bytes[2..34], entry(257 * 256));
    assert!(TileReader::new(tree, 66_000).node(0, 66_000).is_err());
    std::fs::write(tree.join("tile/0/000"), "short").unwrap();
    let error = path::inclusion(&mut TileReader::new(tree, 66_000), 3, 66_000).unwrap_err();
    assert!(error.to_string().contains("0/000: has 5 bytes, must have 8192"), "{error}");
}

/// Key, text and note with which Go's `sumdb/note` tests itself.
#[test]
fn the_note_of_others_is_ours() {
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    write_private(&file, skey);
    let signers = Signers::load(&file).unwrap().unwrap();
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(signers.keys()[0].public().to_string(), vkey);
    let note = note::sign(text, &signers);
    assert_eq!(note, format!("{text}\n{line}"));
    let keys = [vkey.parse().unwrap()];
    assert_eq!(Note::parse(&note).unwrap().verify(&keys).unwrap(), [&keys[0]]);
}

fn write_private(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn signers(seeds: &[u8]) -> Signers {
    let key = |seed: &u8| SignerKey::from_seed("example.com/log", &[*seed; 32]).unwrap();
    Signers::new(seeds.iter().map(key).collect()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "example.com/log".to_owned(), size: 3, root: naive_root(&leaves(3)) }
}

#[test]
fn a_key_is_changed_by_signing_with_both_for_a_while() {
    let (old, both, new) = (signers(&[1]), signers(&[1, 2]), signers(&[2]));
    let (old_key, new_key, stranger) = (old.public(), new.public(), signers(&[3]).public());
    let note = checkpoint().sign(&both);
    assert_eq!(note.lines().count(), 6);
    for keys in [&old_key, &new_key] {
        let (opened, by) = Checkpoint::open(&note, keys).unwrap();
        assert_eq!((opened, by), (checkpoint(), vec![&keys[0]]));
    }
    assert_eq!(Checkpoint::open(&note, &both.public()).unwrap().1.len(), 2);
    let error = Checkpoint::open(&note, &stranger).unwrap_err();
    assert!(matches!(error, CheckpointError::Note(NoteError::Unknown { .. })), "{error}");
    // One wrong signature of a known key, beside a good one.
    let (first, second) = note.rsplit_once('\u{2014}').unwrap();
    let wrong = format!("{first}\u{2014}{}", second.replacen("A", "B", 1));
    let error = Checkpoint::open(&wrong, &both.public()).unwrap_err();
    assert!(matches!(error, CheckpointError::Note(NoteError::BadSignature { .. })), "{error} {second}");
}

#[test]
fn every_changed_byte_of_a_note_is_found() {
    let signers = signers(&[1]);
    let (note, keys) = (checkpoint().sign(&signers), signers.public());
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let opened = Checkpoint::open(&changed, &keys);
        assert!(opened.is_err(), "byte {at}: {changed}");
    }
    for length in 0..note.len() {
        if note.is_char_boundary(length) {
            assert!(Checkpoint::open(&note[..length], &keys).is_err(), "{length}");
        }
    }
}

#[test]
fn texts_that_are_none_are_refused_with_the_reason() {
    for (text, reason) in [
        ("a\n1\nx\n", "no empty line"),
        ("a\n\n", "no signature"),
        ("a\n\n\u{2014} a b\n", "a signature line is malformed"),
        ("a\t\n\n\u{2014} a AAAAAAA=\n", "control characters"),
        ("example.com\n07\nx\n\n\u{2014} a AAAAAAA=\n", "line 2"),
        ("example.com\n7\nx\n\n\u{2014} a AAAAAAA=\n", "line 3"),
        ("\n7\nx\n\n\u{2014} a AAAAAAA=\n", "line 1"),
    ] {
        let error = Checkpoint::read_unverified(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let signed = checkpoint().to_string() + "an extension\n\n\u{2014} a AAAAAAA=\n";
    assert_eq!(Checkpoint::read_unverified(&signed), Ok(checkpoint()));
    for (key, reason) in [
        ("", "no verifier key"),
        ("a+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "has the id"),
        ("a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "cannot be the name"),
        ("PeterNeumann+c74f20a3+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "of type 0x04"),
    ] {
        let error = key.parse::<VerifierKey>().unwrap_err().to_string();
        assert!(error.contains(reason), "{key}: {error}");
    }
    assert!(matches!(SignerKey::from_seed("", &[0; 32]), Err(KeyError::Name { .. })));
}

#[test]
fn keys_are_made_once_and_read_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys/checkpoint.ed25519");
    assert!(Signers::load(&file).unwrap().is_none());
    let mut made = Signers::load_or_create(&file, "a").unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Signers::load_or_create(&file, "b").unwrap().public(), made.public());
    let added = made.add_to(&file).unwrap();
    let read = Signers::load(&file).unwrap().unwrap();
    assert_eq!(read.public(), made.public());
    assert_eq!((read.keys().len(), read.name(), read.public()[1] == added), (2, "a", true));
    let text = std::fs::read_to_string(&file).unwrap();
    write_private(&file, &format!("# comment\n\n{text}PRIVATE+KEY+a"));
    let error = Signers::load(&file).unwrap_err().to_string();
    assert!(error.contains(", line 5: ") && !error.contains("PRIVATE+KEY+a+"), "{error}");
    write_private(&file, "");
    assert!(matches!(Signers::load(&file), Err(KeyFileError::Number { found: 0, .. })));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = Signers::load(&file).unwrap_err().to_string();
    assert!(error.contains("(mode 640): chmod 600 "), "{error}");
}

#[test]
fn proofs_are_files_that_are_read_back() {
    let signers = signers(&[1]);
    let keys = signers.public();
    let all = leaves(3);
    let note = checkpoint().sign(&signers);
    let path = path::inclusion(&mut InMemory(&all), 1, 3).unwrap();
    for extra in [None, Some(b"more".to_vec())] {
        let proof = InclusionProof { extra, index: 1, path: path.clone(), note: note.clone() };
        let text = proof.to_text();
        assert_eq!(Proof::parse(&text), Ok(Proof::Inclusion(proof.clone())), "{text}");
        assert_eq!(proof.check(&entry(1), &keys), Ok(checkpoint()));
        assert!(matches!(proof.check(&entry(2), &keys), Err(ProofError::Path(PathError::Root { .. }))));
    }
    let old = Checkpoint { size: 2, root: naive_root(&all[..2]), ..checkpoint() };
    let path = path::consistency(&mut InMemory(&all), 2, 3).unwrap();
    let proof = ConsistencyProof { old_size: 2, path, note };
    let text = proof.to_text();
    assert_eq!(Proof::parse(&text), Ok(Proof::Consistency(proof.clone())), "{text}");
    assert_eq!(proof.check(&old, &keys), Ok(checkpoint()));
    let other_log = Checkpoint { origin: "example.com/other".to_owned(), ..old };
    assert!(proof.check(&other_log, &keys).is_err());
    let other_root = Checkpoint { root: all[0], origin: checkpoint().origin, ..other_log };
    assert!(proof.check(&other_root, &keys).is_err());
}

/// What `tlog_tiles` and `signed_note` of Cloudflare make of the same entries and key: `tests/data/proof/README.md`.
#[test]
fn another_implementation_comes_to_the_same() {
    let golden = include_str!("../../tests/data/proof/golden.txt");
    let number_entry = |number: u64| {
        let mut entry = [0; 32];
        entry[24..].copy_from_slice(&number.to_be_bytes());
        entry
    };
    let directory = tempfile::tempdir().unwrap();
    let mut writer = TileWriter::new(directory.path());
    (0..1000).for_each(|number| writer.push(&number_entry(number)).unwrap());
    writer.write_partial().unwrap();
    let mut reader = TileReader::new(directory.path(), 1000);
    let hashes = |rest: &[&str]| rest.iter().map(|hash| hash.parse().unwrap()).collect::<Vec<TreeHash>>();
    let root = writer.root();
    let mut lines = 0;
    for line in golden.lines() {
        lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        let number = || words[1].parse::<u64>().unwrap();
        match words[0] {
            "root" => assert_eq!(writer.root_at(number()).unwrap().to_string(), words[2], "{line}"),
            "inclusion" => {
                let path = path::inclusion(&mut reader, number(), 1000).unwrap();
                assert_eq!(path, hashes(&words[2..]), "{line}");
                let leaf = TreeHash::leaf(&number_entry(number()));
                path::check_inclusion(leaf, number(), 1000, &path, root).unwrap();
            }
            "consistency" => {
                let path = path::consistency(&mut reader, number(), 1000).unwrap();
                assert_eq!(path, hashes(&words[2..]), "{line}");
                let old_root = writer.root_at(number()).unwrap();
                path::check_consistency((number(), old_root), (1000, root), &path).unwrap();
            }
            // The path with the tile's height, as Go writes it, and the leaf hash of the tile's bytes.
            "tile" => {
                let tile = Tile::parse(words[1].strip_prefix("tile/8/").unwrap()).unwrap();
                let bytes = read_tile(&directory.path().join(TILE_DIRECTORY), tile).unwrap();
                assert_eq!(TreeHash::leaf(&bytes).to_string(), words[2], "{line}");
            }
            "note" => {
                let file = directory.path().join("key");
                write_private(&file, words[1]);
                let signers = Signers::load(&file).unwrap().unwrap();
                let checkpoint = Checkpoint { origin: signers.name().to_owned(), size: 1000, root };
                let note = checkpoint.sign(&signers).replace('\n', "|").replace(' ', "_");
                assert_eq!(note, words[2]);
            }
            other => panic!("{other}"),
        }
    }
    assert!(lines > 20, "{lines}");
}
