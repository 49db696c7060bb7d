//! All lists as one sequence of disjoint ranges, so that one search tells every list that an address is on.
//!
//! Lists nest and overlap. A sweep over the ends of all their entries cuts the addresses into pieces; each piece knows which lists
//! cover it. A lookup is a binary search over the beginnings of the pieces: no allocation, and no walk from prefix to prefix.

use std::collections::HashMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::ip::list_file::AddressRange;

/// Most different combinations of lists.
pub const COMBINATIONS_MAX: usize = 65_536;

/// Which lists, one bit each.
pub type ListBits = u64;

/// So many lists overlap in so many ways that no table holds them.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the lists overlap in more than {COMBINATIONS_MAX} ways")]
pub struct TooManyCombinations;

/// Every list, by address.
#[derive(Debug, Default)]
pub struct RangeTable {
    v4: Pieces<u32>,
    v6: Pieces<u128>,
    combinations: Box<[ListBits]>,
}

/// Pieces of the addresses of one version, in order.
#[derive(Debug)]
struct Pieces<A> {
    /// Where each piece begins; it ends where the next one does.
    starts: Box<[A]>,
    /// The combination of lists on it.
    combinations: Box<[u16]>,
}

impl<A> Default for Pieces<A> {
    fn default() -> Self {
        Self { starts: Box::default(), combinations: Box::default() }
    }
}

/// One end of an entry: where lists change.
struct End<A> {
    at: A,
    list: u8,
    begins: bool,
}

/// Numbers of combinations as they come up.
#[derive(Default)]
struct Numbering {
    numbers: HashMap<ListBits, u16>,
    combinations: Vec<ListBits>,
}

impl Numbering {
    fn number(&mut self, lists: ListBits) -> Result<u16, TooManyCombinations> {
        if let Some(number) = self.numbers.get(&lists) {
            return Ok(*number);
        }
        let number = u16::try_from(self.combinations.len()).map_err(|_| TooManyCombinations)?;
        self.combinations.push(lists);
        self.numbers.insert(lists, number);
        Ok(number)
    }
}

impl RangeTable {
    /// Of lists, each with its entries; the number of a list is its bit. At most 64.
    pub fn new<'a>(lists: impl IntoIterator<Item = &'a [AddressRange]>) -> Result<Self, TooManyCombinations> {
        let (mut ends_4, mut ends_6) = (Vec::new(), Vec::new());
        for (list, entries) in (0..64_u8).zip(lists) {
            for entry in entries {
                match *entry {
                    AddressRange::V4(first, last) => push_ends(&mut ends_4, list, first, last.checked_add(1)),
                    AddressRange::V6(first, last) => push_ends(&mut ends_6, list, first, last.checked_add(1)),
                }
            }
        }
        let mut numbering = Numbering::default();
        let v4 = Pieces::sweep(ends_4, &mut numbering)?;
        let v6 = Pieces::sweep(ends_6, &mut numbering)?;
        Ok(Self { v4, v6, combinations: numbering.combinations.into() })
    }

    /// Which lists an address is on: the number of their combination. `None`: no list.
    pub fn look_up(&self, address: IpAddr) -> Option<usize> {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.look_up(address.to_bits()),
            IpAddr::V6(address) => self.v6.look_up(address.to_bits()),
        }?;
        self.combinations
            .get(usize::from(number))
            .is_some_and(|lists| *lists != 0)
            .then_some(usize::from(number))
    }

    /// Every combination of lists, by its number.
    pub fn combinations(&self) -> &[ListBits] {
        &self.combinations
    }
}

fn push_ends<A>(ends: &mut Vec<End<A>>, list: u8, first: A, behind: Option<A>) {
    ends.push(End { at: first, list, begins: true });
    if let Some(behind) = behind {
        ends.push(End { at: behind, list, begins: false });
    }
}

impl<A: Copy + Ord> Pieces<A> {
    fn sweep(mut ends: Vec<End<A>>, numbering: &mut Numbering) -> Result<Self, TooManyCombinations> {
        ends.sort_unstable_by_key(|end| end.at);
        let (mut starts, mut combinations) = (Vec::new(), Vec::new());
        // Entries of one list may overlap: it is left when the last of them ends.
        let mut open = [0_u32; 64];
        let mut lists: ListBits = 0;
        let mut last_lists: ListBits = 0;
        for at_once in ends.chunk_by(|a, b| a.at == b.at) {
            for end in at_once {
                let open = &mut open[usize::from(end.list)];
                *open = if end.begins { open.wrapping_add(1) } else { open.wrapping_sub(1) };
            }
            for end in at_once {
                let bit = 1 << end.list;
                lists = if open[usize::from(end.list)] > 0 { lists | bit } else { lists & !bit };
            }
            if let Some(first) = at_once.first().filter(|_| lists != last_lists) {
                starts.push(first.at);
                combinations.push(numbering.number(lists)?);
                last_lists = lists;
            }
        }
        Ok(Self { starts: starts.into(), combinations: combinations.into() })
    }

    fn look_up(&self, address: A) -> Option<u16> {
        let behind = self.starts.partition_point(|start| *start <= address);
        self.combinations.get(behind.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plainest thing that can be right: every entry of every list is looked at.
    fn naive(lists: &[Vec<AddressRange>], address: IpAddr) -> ListBits {
        let holds = |entry: &AddressRange| match (*entry, address.to_canonical()) {
            (AddressRange::V4(first, last), IpAddr::V4(address)) => {
                (first..=last).contains(&address.to_bits())
            }
            (AddressRange::V6(first, last), IpAddr::V6(address)) => {
                (first..=last).contains(&address.to_bits())
            }
            _ => false,
        };
        let on = lists.iter().enumerate().filter(|(_, entries)| entries.iter().any(holds));
        on.fold(0, |bits, (list, _)| bits | 1 << list)
    }

    /// Blocks that often nest, touch and end at the last address; few bits vary, so that addresses meet them.
    fn block() -> impl Strategy<Value = AddressRange> {
        let v4 = (any::<u32>(), 20..=32_u32, any::<bool>()).prop_map(|(bits, length, is_high)| {
            let base = if is_high { 0xffff_f000 } else { 0x0a00_0000 };
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = (base | (bits & 0xfff)) & !host;
            AddressRange::V4(first, first | host)
        });
        let v6 = (any::<u128>(), 116..=128_u32, any::<bool>()).prop_map(|(bits, length, is_high)| {
            let base = if is_high { u128::MAX << 12 } else { 0x2001_0db8 << 96 };
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = (base | (bits & 0xfff)) & !host;
            AddressRange::V6(first, first | host)
        });
        prop_oneof![v4, v6]
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        (any::<u16>(), 0..5_u8).prop_map(|(bits, kind)| {
            let low = u32::from(bits & 0xfff);
            match kind {
                0 => IpAddr::V4((0x0a00_0000 | low).into()),
                1 => IpAddr::V4((0xffff_f000 | low).into()),
                2 => IpAddr::V6(((0x2001_0db8_u128 << 96) | u128::from(low)).into()),
                3 => IpAddr::V6(((u128::MAX << 12) | u128::from(low)).into()),
                _ => IpAddr::V6(std::net::Ipv4Addr::from(0x0a00_0000 | low).to_ipv6_mapped()),
            }
        })
    }

    proptest! {
        #[test]
        fn one_search_says_what_looking_at_every_entry_says(
            lists in proptest::collection::vec(proptest::collection::vec(block(), 0..40), 1..6),
            addresses in proptest::collection::vec(address(), 1..200),
        ) {
            let table = RangeTable::new(lists.iter().map(Vec::as_slice)).unwrap();
            for address in addresses {
                let found = table.look_up(address).map_or(0, |number| table.combinations()[number]);
                prop_assert_eq!(found, naive(&lists, address), "{}", address);
            }
        }
    }

    #[test]
    fn the_last_address_and_the_last_list_are_there() {
        let mut lists = vec![Vec::new(); 64];
        lists[63] = vec![AddressRange::V4(u32::MAX, u32::MAX), AddressRange::V6(u128::MAX, u128::MAX)];
        let table = RangeTable::new(lists.iter().map(Vec::as_slice)).unwrap();
        for (address, expected) in [("255.255.255.255", true), ("255.255.255.254", false), ("::1", false)] {
            let found = table.look_up(address.parse().unwrap());
            assert_eq!(found.is_some(), expected, "{address}");
        }
        assert_eq!(RangeTable::default().look_up("10.0.0.1".parse().unwrap()), None);
    }
}
