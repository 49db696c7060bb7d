//! A database in MaxMind's format, held in memory whole, and the few fields of it that are asked for.
//!
//! Not mapped: a mapped file that somebody shortens ends the process, and one that somebody overwrites changes under decisions.
//! The fields are those of GeoIP2 and GeoLite2 (City, Country, ASN), of DB-IP, which names them likewise, and of IPinfo
//! (`country` or `country_code`, `asn: "AS15169"`, `as_name` or `name`). Whatever else a record holds is skipped.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::hash::sha256;
use crate::domain::text::CountryCode;
use crate::ip::files::{DATABASE_BYTES_MAX, FileIdentity, IpError, read};

/// How many networks are looked at to see that a database holds anything that is asked for.
const PROBED_NETWORKS_MAX: usize = 2_000;

/// A database.
pub struct Database {
    /// Its file.
    pub file: PathBuf,
    /// Of what bytes it was read.
    pub sha256: Box<str>,
    /// Which file that was.
    pub identity: FileIdentity,
    reader: Reader<Vec<u8>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What a database says of an address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Located<'a> {
    /// The country that it is used in; else the one that it is registered in.
    pub country: Option<CountryCode>,
    /// The autonomous system.
    pub asn: Option<u32>,
    /// Who operates that.
    pub as_org: Option<&'a str>,
}

impl Located<'_> {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Database {
    /// Reads a file, and looks whether it holds what is asked for.
    pub fn load(file: &Path) -> Result<Self, IpError> {
        let (bytes, identity) = read(file, DATABASE_BYTES_MAX)?;
        let sha256 = sha256(&bytes);
        let wrong = |error: maxminddb::MaxMindDbError| {
            IpError::whole(file, format!("is no whole database in MaxMind's format: {error}"))
        };
        let reader = Reader::from_source(bytes).map_err(wrong)?;
        let database = Self { file: file.to_owned(), sha256, identity, reader };
        let networks = database.reader.networks(WithinOptions::default()).map_err(wrong)?;
        let mut is_useful = false;
        for network in networks.take(PROBED_NETWORKS_MAX) {
            let fields = network.and_then(|it| it.decode::<Fields<'_>>()).map_err(wrong)?;
            if fields.is_some_and(|fields| !fields.located().is_empty()) {
                is_useful = true;
                break;
            }
        }
        if is_useful {
            return Ok(database);
        }
        let message = format!(
            "is a database of the type {:?} without country and autonomous system in its first {PROBED_NETWORKS_MAX} networks",
            database.kind()
        );
        Err(IpError::whole(file, message))
    }

    /// What it says of an address. A record that cannot be read says nothing.
    pub fn look_up(&self, address: IpAddr) -> Located<'_> {
        let found = self.reader.lookup(address.to_canonical()).and_then(|it| it.decode::<Fields<'_>>());
        found.ok().flatten().map_or_else(Located::default, |fields| fields.located())
    }

    /// The network that it has an entry for around an address, such as `198.51.100.0/24`.
    pub fn network(&self, address: IpAddr) -> Option<String> {
        let found = self.reader.lookup(address.to_canonical()).ok().filter(|it| it.has_data())?;
        found.network().ok().map(|network| network.to_string())
    }

    /// What sort of database it calls itself.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was made, in seconds since the Unix epoch.
    pub fn built_at_s(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// The nodes of its tree: a measure of how much it holds.
    pub fn nodes(&self) -> u64 {
        u64::from(self.reader.metadata().node_count)
    }
}

/// The fields that are asked for, under every name that they go by.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    country: Loose<'a>,
    #[serde(borrow)]
    country_code: Loose<'a>,
    #[serde(borrow)]
    registered_country: Loose<'a>,
    #[serde(borrow)]
    autonomous_system_number: Loose<'a>,
    #[serde(borrow)]
    autonomous_system_organization: Loose<'a>,
    #[serde(borrow)]
    asn: Loose<'a>,
    #[serde(borrow)]
    as_name: Loose<'a>,
    #[serde(borrow)]
    name: Loose<'a>,
}

impl<'a> Fields<'a> {
    fn located(&self) -> Located<'a> {
        let countries = [&self.country, &self.country_code, &self.registered_country];
        let asn = self.autonomous_system_number.asn().or_else(|| self.asn.asn());
        let as_org = [&self.autonomous_system_organization, &self.as_name, &self.name];
        Located {
            country: countries.into_iter().find_map(|it| CountryCode::parse(it.text()?).ok()),
            asn,
            // A `name` beside no autonomous system is the name of something else.
            as_org: as_org.into_iter().find_map(Loose::text).filter(|name| asn.is_some() && !name.is_empty()),
        }
    }
}

/// A value of whatever type: other vendors give other types to the same names, and a field that is of no use must not make the
/// rest of a record unreadable.
#[derive(Clone, Copy, Default)]
enum Loose<'a> {
    /// A text, or the `iso_code` of a map.
    Text(&'a str),
    Number(u64),
    #[default]
    Nothing,
}

impl<'a> Loose<'a> {
    const fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Nothing => None,
        }
    }

    /// 15169, `AS15169` or `15169`; 0 is none.
    fn asn(&self) -> Option<u32> {
        let number = match self {
            Self::Text(text) => text.strip_prefix("AS").unwrap_or(text).parse().ok()?,
            Self::Number(number) => u32::try_from(*number).ok()?,
            Self::Nothing => return None,
        };
        (number != 0).then_some(number)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LooseVisitor(std::marker::PhantomData))
    }
}

struct LooseVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for LooseVisitor<'a> {
    type Value = Loose<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Loose<'a>, E> {
        Ok(Loose::Text(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Loose<'a>, E> {
        Ok(Loose::Nothing)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose<'a>, E> {
        Ok(Loose::Number(number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Loose<'a>, E> {
        Ok(Loose::Nothing)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose<'a>, E> {
        Ok(u64::try_from(number).map_or(Loose::Nothing, Loose::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose<'a>, E> {
        Ok(Loose::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose<'a>, E> {
        Ok(Loose::Nothing)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Loose<'a>, E> {
        Ok(Loose::Nothing)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Loose<'a>, M::Error> {
        let mut found = Loose::Nothing;
        while let Some(key) = map.next_key::<&str>()? {
            if key == "iso_code" {
                found = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Loose<'a>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Nothing)
    }
}
