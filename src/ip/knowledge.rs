//! Everything that the files say, read at once and never changed: one value, swapped whole by whoever reloads.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::hash::sha256;
use crate::domain::ip::IpAddress;
use crate::domain::ip_facts::{AS_ORG_BYTES_MAX, IpCategories, IpFacts};
use crate::domain::ip_kind::IpKind;
use crate::ip::database::{Database, Located};
use crate::ip::files::{FileIdentity, IpError, IpFiles, IpListFile, LIST_BYTES_MAX, LIST_ENTRIES_MAX, read};
use crate::ip::list_file::{AddressRange, parse};
use crate::ip::ranges::{ListBits, RangeTable};

/// Everything that the files say.
#[derive(Debug, Default)]
pub struct IpKnowledge {
    databases: Box<[Database]>,
    lists: Box<[List]>,
    ranges: RangeTable,
    /// What being on each combination of lists comes to, by its number.
    combinations: Box<[Listing]>,
    /// On none of the lists.
    unlisted: Listing,
    /// Of lists that are also asked about reserved addresses.
    reserved: ListBits,
}

/// One list, without its entries.
#[derive(Debug)]
pub struct List {
    /// What config says of it.
    pub config: IpListFile,
    /// How many entries it has.
    pub entries: usize,
    /// Of what bytes it was read.
    pub sha256: Box<str>,
    /// Which file that was.
    pub identity: FileIdentity,
}

/// What being on some lists comes to, made once.
#[derive(Clone, Debug, Default)]
struct Listing {
    names: Option<Arc<str>>,
    weight: Option<f64>,
    categories: IpCategories,
}

/// One file and what it says of an address: for people.
#[derive(Clone, PartialEq, Debug)]
pub struct Said<'a> {
    /// The file.
    pub file: &'a Path,
    /// What it says.
    pub what: SaidWhat<'a>,
}

/// What a file says.
#[derive(Clone, PartialEq, Debug)]
pub enum SaidWhat<'a> {
    /// A database with an entry for the address.
    Located {
        /// The entry.
        located: Located<'a>,
        /// Its network.
        network: Option<String>,
    },
    /// A list that it is on.
    Listed {
        /// The list.
        list: &'a IpListFile,
    },
}

impl IpKnowledge {
    /// Reads and checks all files; the mistakes of all of them are reported at once.
    pub fn load(files: &IpFiles) -> Result<Self, Vec<IpError>> {
        let mut mistakes = files.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut databases = Vec::new();
        for file in &files.databases {
            match Database::load(file) {
                Ok(database) => databases.push(database),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let (mut lists, mut entries, mut total) = (Vec::new(), Vec::new(), 0);
        for config in &files.lists {
            match load_list(config) {
                Ok((list, of_list)) => {
                    total += of_list.len();
                    if total > LIST_ENTRIES_MAX {
                        let message = format!(
                            "brings the lists to {total} entries; at most {LIST_ENTRIES_MAX} are held"
                        );
                        mistakes.push(IpError::whole(&config.file, message));
                        break;
                    }
                    lists.push(list);
                    entries.push(of_list);
                }
                Err(found) => mistakes.extend(found),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let ranges = RangeTable::new(entries.iter().map(Vec::as_slice)).map_err(|error| {
            let file = lists.first().map_or_else(PathBuf::new, |list| list.config.file.clone());
            vec![IpError { file, line: None, message: error.to_string() }]
        })?;
        let every = |is_asked: fn(&List) -> bool| {
            let asked = lists.iter().enumerate().filter(|(_, list)| is_asked(list));
            asked.fold(0, |bits: ListBits, (number, _)| bits | 1 << number)
        };
        let combinations =
            ranges.combinations().iter().map(|on| Listing::of(&lists, *on, every(|_| true))).collect();
        Ok(Self {
            unlisted: Listing::of(&lists, 0, every(|_| true)),
            reserved: every(|list| list.config.reserved),
            databases: databases.into(),
            lists: lists.into(),
            ranges,
            combinations,
        })
    }

    /// What is known of an address; allocates for the operator's name alone.
    pub fn look_up(&self, address: &IpAddress) -> IpFacts {
        let address = address.address();
        let kind = IpKind::of(address);
        let listing = self.listing(address, kind);
        let mut facts = IpFacts {
            kind,
            country: None,
            asn: None,
            as_org: None,
            lists: listing.names,
            list_weight: listing.weight,
            categories: listing.categories,
        };
        if !kind.is_reserved() {
            for database in &self.databases {
                let located = database.look_up(address);
                facts.country = facts.country.or(located.country);
                if facts.asn.is_none() {
                    facts.asn = located.asn;
                    facts.as_org = located.as_org.map(|name| cut(name).into());
                }
            }
        }
        facts
    }

    fn listing(&self, address: IpAddr, kind: IpKind) -> Listing {
        if kind.is_reserved() {
            // Rare, so made as it is asked for.
            let on = self.ranges.look_up(address).and_then(|number| self.ranges.combinations().get(number));
            return Listing::of(&self.lists, on.copied().unwrap_or(0) & self.reserved, self.reserved);
        }
        let found = self.ranges.look_up(address).and_then(|number| self.combinations.get(number));
        found.unwrap_or(&self.unlisted).clone()
    }

    /// Which file says what of an address.
    pub fn sayings(&self, address: &IpAddress) -> Vec<Said<'_>> {
        let address = address.address();
        let is_reserved = IpKind::of(address).is_reserved();
        let databases = self.databases.iter().filter(|_| !is_reserved).filter_map(|database| {
            let located = database.look_up(address);
            let what = SaidWhat::Located { located, network: database.network(address) };
            (!located.is_empty()).then_some(Said { file: &database.file, what })
        });
        let on = self.ranges.look_up(address).and_then(|number| self.ranges.combinations().get(number));
        let on = on.copied().unwrap_or(0) & if is_reserved { self.reserved } else { ListBits::MAX };
        let lists = self.lists.iter().enumerate().filter(|(number, _)| on >> number & 1 == 1);
        let lists = lists
            .map(|(_, list)| Said { file: &list.config.file, what: SaidWhat::Listed { list: &list.config } });
        databases.chain(lists).collect()
    }

    /// The databases, in the order of config.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The lists, in the order of config.
    pub fn lists(&self) -> &[List] {
        &self.lists
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.lists.is_empty()
    }

    /// Whether what lies on disk now are the very files that were read.
    pub fn is_of(&self, files: &IpFiles) -> bool {
        let identities = self.databases.iter().map(|it| (&*it.file, it.identity));
        let lists = self.lists.iter().map(|it| (&*it.config.file, it.identity));
        let read = identities.chain(lists);
        files.paths().count() == self.databases.len() + self.lists.len()
            && read
                .zip(files.paths())
                .all(|((file, identity), path)| file == path && FileIdentity::of(path) == Some(identity))
    }
}

fn load_list(config: &IpListFile) -> Result<(List, Vec<AddressRange>), Vec<IpError>> {
    let (bytes, identity) = read(&config.file, LIST_BYTES_MAX).map_err(|error| vec![error])?;
    let entries = parse(&config.file, &bytes)?;
    let list = List { config: config.clone(), entries: entries.len(), sha256: sha256(&bytes), identity };
    Ok((list, entries))
}

impl Listing {
    /// On the lists `on`, of those that are asked.
    fn of(lists: &[List], on: ListBits, asked: ListBits) -> Self {
        if asked == 0 {
            return Self::default();
        }
        let is_in = |bits: ListBits, number: usize| bits >> number & 1 == 1;
        let mut categories = IpCategories::default();
        let mut weight = 0.0_f64;
        let mut names: Vec<&str> = Vec::new();
        for (number, list) in lists.iter().enumerate().filter(|(number, _)| is_in(asked, *number)) {
            let entry = categories.entry(list.config.category);
            let is_on = is_in(on, number);
            *entry = Some(entry.unwrap_or(false) || is_on);
            if is_on {
                weight = weight.max(list.config.weight);
                names.push(&list.config.name);
            }
        }
        names.sort_unstable();
        Self { names: Some(names.join(",").into()), weight: Some(weight), categories }
    }
}

/// An operator's name, not longer than it may be.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(AS_ORG_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
