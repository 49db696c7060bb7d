//! The fixed tables of the simulated world: countries, merchant categories and user agents.
//!
//! Countries and categories are real codes, so that rules about them can be tried; weights and prices are invented.

/// One country.
pub(crate) struct Country {
    /// ISO 3166-1 alpha-2.
    pub(crate) code: &'static str,
    /// ISO 4217.
    pub(crate) currency: &'static str,
    /// Minor units of that currency for one euro cent, roughly.
    pub(crate) minor_per_cent: f64,
    /// Share of customers, relative to the others.
    pub(crate) weight: f64,
    /// Around where its cities lie: latitude and longitude in degrees.
    pub(crate) centre: (f64, f64),
    /// How far its cities lie apart: standard deviation in degrees.
    pub(crate) spread_degrees: f64,
    /// Local time minus UTC, in minutes; there is no daylight saving time.
    pub(crate) offset_minutes: i64,
    /// Whether its cards are under strong customer authentication (PSD2 and alike): 3-D Secure is usual.
    pub(crate) authenticates: bool,
}

#[rustfmt::skip]
const fn country(
    code: &'static str, currency: &'static str, minor_per_cent: f64, weight: f64, centre: (f64, f64), spread_degrees: f64,
    offset_minutes: i64, authenticates: bool,
) -> Country {
    Country { code, currency, minor_per_cent, weight, centre, spread_degrees, offset_minutes, authenticates }
}

/// The position in `COUNTRIES` stands for the country everywhere in this room.
#[rustfmt::skip]
pub(crate) const COUNTRIES: [Country; 28] = [
    country("DE", "EUR", 1.0, 20.0, (50.9, 9.9), 1.8, 60, true),
    country("FR", "EUR", 1.0, 13.0, (47.0, 2.5), 1.9, 60, true),
    country("GB", "GBP", 0.85, 11.0, (52.5, -1.5), 1.4, 0, true),
    country("NL", "EUR", 1.0, 7.0, (52.2, 5.2), 0.5, 60, true),
    country("ES", "EUR", 1.0, 7.0, (40.2, -3.5), 2.0, 60, true),
    country("IT", "EUR", 1.0, 7.0, (43.5, 11.5), 1.8, 60, true),
    country("BE", "EUR", 1.0, 4.0, (50.8, 4.5), 0.4, 60, true),
    country("AT", "EUR", 1.0, 4.0, (47.8, 14.5), 0.9, 60, true),
    country("PL", "PLN", 4.3, 4.0, (52.0, 19.3), 1.5, 60, true),
    country("US", "USD", 1.1, 6.0, (39.5, -92.0), 7.0, -360, false),
    country("SE", "SEK", 11.2, 2.5, (59.0, 15.5), 1.5, 60, true),
    country("CH", "CHF", 0.95, 2.5, (47.0, 8.0), 0.5, 60, false),
    country("PT", "EUR", 1.0, 2.0, (39.7, -8.4), 0.9, 0, true),
    country("IE", "EUR", 1.0, 1.5, (53.2, -7.5), 0.7, 0, true),
    country("DK", "DKK", 7.5, 1.5, (55.8, 10.5), 0.8, 60, true),
    country("FI", "EUR", 1.0, 1.3, (61.5, 24.5), 1.0, 120, true),
    country("NO", "NOK", 11.5, 1.2, (60.2, 9.5), 1.0, 60, true),
    country("CZ", "CZK", 25.0, 1.3, (49.9, 15.3), 0.8, 60, true),
    country("RO", "RON", 5.0, 1.0, (45.5, 25.0), 1.2, 120, true),
    country("GR", "EUR", 1.0, 1.0, (38.8, 23.0), 1.0, 120, true),
    country("HU", "HUF", 390.0, 0.8, (47.2, 19.3), 0.7, 60, true),
    country("TR", "TRY", 35.0, 0.8, (39.5, 31.5), 2.0, 180, false),
    country("CA", "CAD", 1.5, 0.8, (45.5, -77.0), 3.0, -300, false),
    country("AU", "AUD", 1.65, 0.6, (-34.0, 148.5), 2.5, 600, false),
    country("JP", "JPY", 1.6, 0.5, (35.8, 138.0), 1.5, 540, false),
    country("BR", "BRL", 6.0, 0.7, (-22.0, -46.5), 2.5, -180, false),
    country("MX", "MXN", 20.0, 0.5, (20.0, -100.0), 2.0, -360, false),
    country("IN", "INR", 95.0, 0.6, (20.0, 77.5), 4.0, 330, true),
];

/// What a merchant category means for the simulation.
pub(crate) struct Category {
    /// ISO 18245.
    pub(crate) mcc: &'static str,
    /// Median price of a purchase, in euro cents.
    pub(crate) median_cents: f64,
    /// Standard deviation of the logarithm of a purchase.
    pub(crate) sigma: f64,
    /// Mean number of items, at least 1.
    pub(crate) items_mean: f64,
    /// Share of merchants, relative to the others.
    pub(crate) weight: f64,
    /// Probability that a merchant of it sells online and not at a counter.
    pub(crate) online: f64,
    /// Whether what it sells is sent by parcel when bought online.
    pub(crate) ships: bool,
    /// How much thieves like it: 0 not at all, 1 very much.
    pub(crate) resale: f64,
}

#[rustfmt::skip]
#[expect(clippy::too_many_arguments, reason = "one row of the table below")]
const fn category(
    mcc: &'static str, median_cents: f64, sigma: f64, items_mean: f64, weight: f64, online: f64, ships: bool, resale: f64,
) -> Category {
    Category { mcc, median_cents, sigma, items_mean, weight, online, ships, resale }
}

/// The position in `CATEGORIES` stands for the category everywhere in this room.
#[rustfmt::skip]
pub(crate) const CATEGORIES: [Category; 26] = [
    category("5411", 3_200.0, 0.85, 8.0, 13.0, 0.15, true, 0.02),  // groceries
    category("5812", 3_400.0, 0.70, 2.5, 10.0, 0.10, false, 0.02), // restaurants
    category("5814", 1_250.0, 0.55, 2.2, 9.0, 0.25, false, 0.02),  // fast food
    category("5541", 5_200.0, 0.45, 1.0, 6.0, 0.00, false, 0.10),  // fuel
    category("5912", 2_100.0, 0.75, 2.5, 4.0, 0.30, true, 0.05),   // pharmacies
    category("5651", 5_600.0, 0.75, 2.2, 7.0, 0.60, true, 0.30),   // clothing
    category("5661", 7_400.0, 0.55, 1.3, 3.0, 0.60, true, 0.45),   // shoes
    category("5732", 14_500.0, 1.10, 1.4, 5.0, 0.65, true, 0.95),  // electronics
    category("5734", 4_800.0, 1.00, 1.3, 2.0, 0.85, false, 0.50),  // software
    category("5816", 650.0, 0.95, 1.2, 4.0, 1.00, false, 0.35),    // games
    category("5815", 980.0, 0.60, 1.1, 4.0, 1.00, false, 0.20),    // music, films, books to download
    category("5968", 1_300.0, 0.45, 1.0, 4.0, 1.00, false, 0.10),  // subscriptions
    category("5942", 2_300.0, 0.65, 1.8, 3.0, 0.70, true, 0.05),   // books
    category("5311", 6_200.0, 0.90, 3.0, 4.0, 0.45, true, 0.45),   // department stores
    category("5399", 4_400.0, 1.00, 2.2, 6.0, 0.90, true, 0.45),   // general online shops
    category("5944", 16_000.0, 1.00, 1.1, 1.5, 0.45, true, 0.90),  // jewellery
    category("5947", 3_800.0, 0.90, 1.4, 1.5, 0.80, false, 0.90),  // gift cards
    category("5977", 4_200.0, 0.65, 2.0, 2.0, 0.60, true, 0.40),   // cosmetics
    category("5200", 5_800.0, 0.95, 3.5, 3.0, 0.30, true, 0.20),   // home improvement
    category("5712", 17_500.0, 1.00, 1.6, 2.0, 0.55, true, 0.10),  // furniture
    category("5941", 6_400.0, 0.80, 1.6, 2.5, 0.55, true, 0.35),   // sports
    category("4121", 1_550.0, 0.55, 1.0, 4.0, 0.90, false, 0.10),  // taxis and rides
    category("4511", 23_500.0, 0.80, 1.6, 1.5, 0.97, false, 0.55), // airlines
    category("7011", 16_500.0, 0.75, 1.3, 2.5, 0.75, false, 0.35), // hotels
    category("4814", 1_900.0, 0.45, 1.0, 2.0, 0.90, false, 0.45),  // phone credit
    category("8398", 2_200.0, 0.85, 1.0, 1.0, 0.95, false, 0.05),  // charities
];

/// Generic user agents with their shares. None names a real build.
#[rustfmt::skip]
pub(crate) const USER_AGENTS: [(&str, f64); 14] = [
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1", 24.0),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile Safari/604.1", 9.0),
    ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile Safari/537.36", 18.0),
    ("Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36", 8.0),
    ("Mozilla/5.0 (Linux; Android 10) AppleWebKit/537.36 Chrome/110.0.0.0 Mobile Safari/537.36", 3.0),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36", 14.0),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/118.0.0.0 Safari/537.36", 3.0),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0", 5.0),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0", 5.0),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", 6.0),
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36", 1.5),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", 1.0),
    ("ShopApp/9.2 (iOS)", 1.5),
    ("ShopApp/9.1 (Android)", 1.0),
];

/// Positions in `USER_AGENTS` that scripts tend to give: desktop browsers, current and outdated.
pub(crate) const SCRIPT_AGENTS: [u8; 4] = [5, 6, 7, 10];

/// Values of `metadata.campaign`; position 0 is the campaign of flash sales.
pub(crate) const CAMPAIGNS: [&str; 5] = ["flash", "spring", "newsletter", "partner", "social"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;
    use crate::domain::text::{CountryCode, parse_digits};

    #[test]
    fn the_tables_are_well_formed() {
        for row in &COUNTRIES {
            assert!(CountryCode::parse(row.code).is_ok(), "{}", row.code);
            assert!(Currency::parse(row.currency).is_ok(), "{}", row.currency);
            assert!(row.weight > 0.0 && row.minor_per_cent > 0.0, "{}", row.code);
        }
        for row in &CATEGORIES {
            assert!(parse_digits(row.mcc, 4..=4, "four digits").is_ok(), "{}", row.mcc);
            assert!(row.items_mean >= 1.0 && (0.0..=1.0).contains(&row.online), "{}", row.mcc);
        }
        assert!(SCRIPT_AGENTS.iter().all(|agent| usize::from(*agent) < USER_AGENTS.len()));
    }
}
