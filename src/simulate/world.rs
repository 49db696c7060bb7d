//! Who and what exists: customers, merchants, terminals, towns. Built once, in one fixed order of draws; afterwards only
//! `traffic` changes it (new devices, new cards, journeys).

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::simulate::cast;
use crate::simulate::catalogue::{CATEGORIES, COUNTRIES, USER_AGENTS};
use crate::simulate::draw::{Draw, Weighted};
use crate::simulate::network;
use crate::simulate::parameters::Parameters;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// Most cards that one customer holds; a new one then replaces the oldest.
pub(crate) const CARDS_MAX: usize = 4;
/// Most devices that one customer uses; a new one then replaces the oldest.
pub(crate) const DEVICES_MAX: usize = 4;
/// Towns of the most populous country; others have fewer.
const TOWNS_MAX: f64 = 8.0;
/// How popular the n-th merchant is: n to the power of minus this.
const POPULARITY_EXPONENT: f64 = 0.85;

/// Below this median price, in euro cents, a category counts as small.
const SMALL_TICKET_CENTS: f64 = 1_500.0;

/// A card: what a gateway sees of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Card {
    /// Its fingerprint is made of this.
    pub(crate) key: u64,
    /// Six digits, beginning with 4.
    pub(crate) bin: u32,
    /// The last four digits.
    pub(crate) last4: u16,
    /// 1..=12.
    pub(crate) exp_month: u8,
    /// Four digits.
    pub(crate) exp_year: u16,
    /// Position in `FUNDINGS`.
    pub(crate) funding: u8,
    /// Where it was issued.
    pub(crate) country: u8,
}

/// The kinds of cards.
pub(crate) const FUNDINGS: [&str; 3] = ["debit", "credit", "prepaid"];

/// A device: its id is made of `key`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Device {
    pub(crate) key: u64,
    /// Position in `USER_AGENTS`.
    pub(crate) agent: u8,
}

/// A point on earth, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Point {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
}

/// An address: a country and a number that the postal code is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Place {
    pub(crate) country: u8,
    pub(crate) postal: u32,
}

/// The account that a transaction names.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Account {
    pub(crate) number: u64,
    pub(crate) created_ms: i64,
}

/// A stay abroad.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Journey {
    pub(crate) town: u32,
    pub(crate) last_day: u32,
    pub(crate) hotel: IpAddr,
}

/// A customer.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) account: Account,
    pub(crate) town: u32,
    pub(crate) at: Point,
    pub(crate) address: Place,
    pub(crate) cards: SmallVec<[Card; 2]>,
    pub(crate) devices: SmallVec<[Device; 3]>,
    pub(crate) home: IpAddr,
    pub(crate) office: Option<IpAddr>,
    pub(crate) mobile: IpAddr,
    pub(crate) purchases_per_day: f64,
    /// Logarithm of what the customer spends, relative to the price level.
    pub(crate) wealth: f64,
    /// Standard deviation of the logarithm of the amounts, on top of the category's.
    pub(crate) whim: f64,
    /// When in the local day the customer buys most, in minutes.
    pub(crate) peak_minute: f64,
    pub(crate) online_share: f64,
    pub(crate) online_favourites: SmallVec<[u32; 5]>,
    pub(crate) terminal_favourites: SmallVec<[u32; 4]>,
    pub(crate) is_gamer: bool,
    pub(crate) is_trader: bool,
    pub(crate) disputes_often: bool,
    pub(crate) journey: Option<Journey>,
}

/// A merchant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Merchant {
    /// Position in `CATEGORIES`.
    pub(crate) category: u8,
    pub(crate) country: u8,
    /// Position in `COUNTRIES` of the country whose currency it charges.
    pub(crate) currency: u8,
    pub(crate) is_online: bool,
    /// Logarithm of its price level, relative to the category.
    pub(crate) price_level: f64,
    /// Share of its online purchases that ask for 3-D Secure.
    pub(crate) authenticates: f64,
    /// Whether it asks the device for a location.
    pub(crate) locates: bool,
    /// The device and connection that its agents key telephone orders in on.
    pub(crate) desk: Device,
}

/// A terminal at a merchant's counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    pub(crate) merchant: u32,
    pub(crate) town: u32,
    pub(crate) at: Point,
}

/// A town with its terminals.
#[derive(Clone, Debug)]
pub(crate) struct Town {
    pub(crate) country: u8,
    pub(crate) at: Point,
    pub(crate) terminals: Vec<u32>,
    popularity: Weighted,
}

/// Everything that exists.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) customers: Vec<Customer>,
    pub(crate) merchants: Vec<Merchant>,
    pub(crate) terminals: Vec<Terminal>,
    pub(crate) towns: Vec<Town>,
    /// The online merchants, most popular first.
    pub(crate) online: Vec<u32>,
    /// The online merchants whose usual purchase is small.
    pub(crate) small_ticket: Vec<u32>,
    online_popularity: Weighted,
    /// The same merchants, by how much thieves like them.
    online_resale: Weighted,
    /// Of each country: its online merchants, most popular first.
    domestic: Vec<(Vec<u32>, Weighted)>,
    country_weights: Weighted,
    towns_of: Vec<Vec<u32>>,
    agent_weights: Weighted,
    start_ms: i64,
}

impl World {
    pub(crate) fn new(parameters: &Parameters, start_ms: i64) -> Self {
        let draw = &mut Draw::new(parameters.seed, 0);
        let mut world = Self {
            customers: Vec::new(),
            merchants: Vec::new(),
            terminals: Vec::new(),
            towns: Vec::new(),
            online: Vec::new(),
            small_ticket: Vec::new(),
            online_popularity: Weighted::default(),
            online_resale: Weighted::default(),
            domestic: Vec::new(),
            country_weights: Weighted::new(COUNTRIES.iter().map(|country| country.weight)),
            towns_of: Vec::new(),
            agent_weights: Weighted::new(USER_AGENTS.iter().map(|(_, weight)| *weight)),
            start_ms,
        };
        world.build_towns(draw);
        world.build_merchants(parameters, draw);
        world.build_terminals(parameters, draw);
        world.build_customers(parameters, draw);
        world
    }

    #[expect(clippy::cast_possible_truncation, reason = "a few hundred towns")]
    fn build_towns(&mut self, draw: &mut Draw) {
        for (position, country) in COUNTRIES.iter().enumerate() {
            let count = 1 + cast::count(country.weight / COUNTRIES[0].weight * (TOWNS_MAX - 1.0));
            let mut here = Vec::new();
            for _ in 0..count {
                let at = Point {
                    latitude: country.centre.0 + country.spread_degrees * 0.7 * draw.normal(),
                    longitude: country.centre.1 + country.spread_degrees * draw.normal(),
                };
                here.push(self.towns.len() as u32);
                let popularity = Weighted::default();
                self.towns.push(Town { country: position as u8, at, terminals: Vec::new(), popularity });
            }
            self.towns_of.push(here);
        }
    }

    fn build_merchants(&mut self, parameters: &Parameters, draw: &mut Draw) {
        let category_weights = Weighted::new(CATEGORIES.iter().map(|category| category.weight));
        for number in 0..parameters.merchants {
            let category = category_weights.pick(draw).unwrap_or(0);
            let country = self.any_customer_country(draw);
            // The most popular merchant sells online, so that every world has one.
            let is_online = draw.chance(CATEGORIES[category].online) || number == 0;
            let local = draw.chance(parameters.behaviour.local_currency_share);
            let may_authenticate = if COUNTRIES[usize::from(country)].authenticates { 0.75 } else { 0.25 };
            self.merchants.push(Merchant {
                category: byte(category),
                country,
                currency: if local { country } else { 0 },
                is_online,
                price_level: 0.35 * draw.normal(),
                authenticates: may_authenticate * draw.between(0.5, 1.0),
                locates: draw.chance(0.35),
                desk: self.new_device(draw),
            });
            if is_online {
                self.online.push(number);
                if CATEGORIES[category].median_cents < SMALL_TICKET_CENTS {
                    self.small_ticket.push(number);
                }
            }
        }
        let popularity =
            |merchants: &[u32]| Weighted::new(merchants.iter().map(|number| rank_weight(*number)));
        self.online_popularity = popularity(&self.online);
        self.online_resale = Weighted::new(self.online.iter().map(|number| {
            let category = usize::from(self.merchants[*number as usize].category);
            CATEGORIES[category].resale * rank_weight(*number).sqrt()
        }));
        self.domestic = (0..COUNTRIES.len())
            .map(|country| {
                let here: Vec<u32> = self
                    .online
                    .iter()
                    .copied()
                    .filter(|number| usize::from(self.merchants[*number as usize].country) == country)
                    .collect();
                let weights = popularity(&here);
                (here, weights)
            })
            .collect();
    }

    fn build_terminals(&mut self, parameters: &Parameters, draw: &mut Draw) {
        let counters: Vec<Vec<u32>> = (0..COUNTRIES.len())
            .map(|country| {
                (0..parameters.merchants)
                    .filter(|number| {
                        let merchant = &self.merchants[*number as usize];
                        !merchant.is_online && usize::from(merchant.country) == country
                    })
                    .collect()
            })
            .collect();
        let weights: Vec<Weighted> = counters
            .iter()
            .map(|merchants| Weighted::new(merchants.iter().map(|number| rank_weight(*number).sqrt())))
            .collect();
        for _ in 0..parameters.terminals {
            let country = usize::from(self.any_customer_country(draw));
            let town = draw.one_of(&self.towns_of[country]).unwrap_or(0);
            let at = near(self.towns[town as usize].at, 0.05, draw);
            // A country without merchants at counters has no terminals; the draws above are made all the same.
            let Some(merchant) = weights[country].pick(draw).map(|position| counters[country][position])
            else {
                continue;
            };
            self.towns[town as usize].terminals.push(u32_of(self.terminals.len()));
            self.terminals.push(Terminal { merchant, town, at });
        }
        for town in &mut self.towns {
            let ranks = 0..u32_of(town.terminals.len());
            town.popularity = Weighted::new(ranks.map(|rank| rank_weight(rank).sqrt()));
        }
    }

    fn build_customers(&mut self, parameters: &Parameters, draw: &mut Draw) {
        self.customers.reserve_exact(parameters.customers as usize);
        for number in 0..parameters.customers {
            let customer = self.build_customer(number, parameters, draw);
            self.customers.push(customer);
        }
    }

    fn build_customer(&mut self, number: u32, parameters: &Parameters, draw: &mut Draw) -> Customer {
        let behaviour = &parameters.behaviour;
        let in_household = draw.chance(behaviour.household_share);
        let country = self.any_customer_country(draw);
        let town = draw.one_of(&self.towns_of[usize::from(country)]).unwrap_or(0);
        let at = near(self.towns[town as usize].at, 0.08, draw);
        let address = self.any_address(country, draw);
        let home = network::home(country, behaviour.ipv6_share, draw);
        let mut cards = SmallVec::new();
        for _ in 0..1 + draw.poisson(0.5).min(2) {
            cards.push(self.new_card(country, draw));
        }
        let mut devices = SmallVec::new();
        for _ in 0..1 + draw.poisson(0.7).min(2) {
            devices.push(self.new_device(draw));
        }
        let mean = behaviour.purchases_per_day;
        let median = mean * libm::exp(-behaviour.purchases_sigma * behaviour.purchases_sigma / 2.0);
        let purchases_per_day = draw.lognormal(median, behaviour.purchases_sigma).min(mean * 40.0);
        let mut online_favourites = SmallVec::new();
        for _ in 0..5 {
            online_favourites.extend(self.online_merchant(country, draw));
        }
        let mut terminal_favourites = SmallVec::new();
        for _ in 0..4 {
            terminal_favourites.extend(self.terminal_in(town, draw));
        }
        let mut customer = Customer {
            account: Account {
                number: u64::from(number) + 1,
                created_ms: self.account_birth(parameters.days, draw),
            },
            town,
            at,
            address,
            cards,
            devices,
            home,
            office: draw
                .chance(behaviour.office_share)
                .then(|| network::office(country, draw.below(1 + u64::from(parameters.customers) / 150))),
            mobile: network::mobile(country, draw),
            purchases_per_day,
            wealth: 0.45 * draw.normal(),
            whim: draw.between(0.05, 0.4),
            peak_minute: draw.between(10.0, 22.0) * 60.0,
            online_share: {
                let spread = behaviour.online_share.min(1.0 - behaviour.online_share);
                behaviour.online_share + spread * draw.between(-0.9, 0.9)
            },
            online_favourites,
            terminal_favourites,
            is_gamer: draw.chance(behaviour.gamer_share),
            is_trader: draw.chance(behaviour.trader_share),
            disputes_often: draw.chance(parameters.fraud.friendly.serial_customer_share),
            journey: None,
        };
        let (shares_card, shares_device) = (draw.chance(0.35), draw.chance(0.35));
        if let (true, Some(relative)) = (in_household, self.customers.last()) {
            customer.town = relative.town;
            customer.at = relative.at;
            customer.address = relative.address;
            customer.home = relative.home;
            customer.mobile = relative.mobile;
            customer.terminal_favourites.clone_from(&relative.terminal_favourites);
            // The cards were drawn for another country: a household banks at home.
            for card in &mut customer.cards {
                card.country = relative.address.country;
                card.bin = bin_of(card.country, card.funding, u64::from(card.bin % 8));
            }
            if shares_card && let Some(card) = relative.cards.first() {
                customer.cards.push(*card);
            }
            if shares_device && let Some(device) = relative.devices.first() {
                customer.devices.push(*device);
            }
        }
        customer
    }

    /// When an account was opened: mostly up to six years before the start, for some in the simulated period.
    fn account_birth(&self, days: u32, draw: &mut Draw) -> i64 {
        if draw.chance(0.1) {
            self.start_ms + cast::whole(draw.unit() * f64::from(days) * cast::double(DAY_MS))
        } else {
            let age_days = draw.unit() * draw.unit() * 2_190.0;
            self.start_ms - cast::whole(age_days * cast::double(DAY_MS))
        }
    }

    /// A country, by its share of customers.
    pub(crate) fn any_customer_country(&self, draw: &mut Draw) -> u8 {
        byte(self.country_weights.pick(draw).unwrap_or(0))
    }

    /// Some town of that country.
    pub(crate) fn any_town(&self, country: u8, draw: &mut Draw) -> u32 {
        draw.one_of(&self.towns_of[usize::from(country)]).unwrap_or(0)
    }

    /// Some address in that country. Postal codes are shared by neighbours.
    pub(crate) fn any_address(&self, country: u8, draw: &mut Draw) -> Place {
        Place { country, postal: u32_of(10_000 + draw.position(3_000) * 29) }
    }

    /// A card that did not exist before.
    pub(crate) fn new_card(&self, country: u8, draw: &mut Draw) -> Card {
        let funding = match draw.unit() {
            kind if kind < 0.56 => 0,
            kind if kind < 0.95 => 1,
            _ => 2,
        };
        let years = 365.2425 * cast::double(DAY_MS);
        let year = 1970.0 + cast::double(self.start_ms) / years;
        Card {
            key: draw.word(),
            bin: bin_of(country, funding, draw.below(8)),
            last4: half(draw.below(10_000)),
            exp_month: byte(draw.position(12)) + 1,
            exp_year: half(u64::from(cast::count(year)) + 1 + draw.below(5)),
            funding,
            country,
        }
    }

    /// A device that did not exist before.
    pub(crate) fn new_device(&self, draw: &mut Draw) -> Device {
        Device { key: draw.word(), agent: byte(self.agent_weights.pick(draw).unwrap_or(0)) }
    }

    /// An online merchant as somebody in that country picks one: two thirds at home.
    pub(crate) fn online_merchant(&self, country: u8, draw: &mut Draw) -> Option<u32> {
        let (domestic, weights) = &self.domestic[usize::from(country)];
        let at_home = draw.chance(0.66);
        let anywhere = self.online_popularity.pick(draw).map(|position| self.online[position]);
        let here = weights.pick(draw).map(|position| domestic[position]);
        if at_home { here.or(anywhere) } else { anywhere }
    }

    /// An online merchant as a thief who wants to sell the goods picks one.
    pub(crate) fn resale_merchant(&self, draw: &mut Draw) -> Option<u32> {
        self.online_resale.pick(draw).map(|position| self.online[position])
    }

    /// A terminal in that town, by popularity.
    pub(crate) fn terminal_in(&self, town: u32, draw: &mut Draw) -> Option<u32> {
        let town = &self.towns[town as usize];
        town.popularity.pick(draw).map(|position| town.terminals[position])
    }
}

/// How popular the merchant or terminal of that rank is (Zipf's law).
fn rank_weight(rank: u32) -> f64 {
    1.0 / libm::pow(f64::from(rank) + 3.0, POPULARITY_EXPONENT)
}

/// A point near another: standard deviation in degrees.
pub(crate) fn near(at: Point, degrees: f64, draw: &mut Draw) -> Point {
    Point {
        latitude: at.latitude + degrees * draw.normal(),
        longitude: at.longitude + degrees * draw.normal(),
    }
}

/// The Bank Identification Number of an issuer: 4, then the country, the kind of card and the bank.
fn bin_of(country: u8, funding: u8, bank: u64) -> u32 {
    400_000 + u32::from(country) * 1_000 + u32::from(funding) * 100 + u32_of(usize::from(half(bank))) * 8
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "callers pass positions in tables of fewer than 256 rows"
)]
const fn byte(position: usize) -> u8 {
    position as u8
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass numbers below 65,536")]
const fn half(number: u64) -> u16 {
    number as u16
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass lengths bounded by the parameters")]
const fn u32_of(number: usize) -> u32 {
    number as u32
}
