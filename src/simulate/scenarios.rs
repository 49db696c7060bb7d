//! What each kind of fraudster does in one campaign. `fraud` decides when a campaign begins; here it is played out.
//!
//! None of them is a caricature: a good part of every scenario stays within what customers do, and customers do most of what
//! is typical of a scenario now and then (`traffic`).

use std::net::IpAddr;

use crate::simulate::cast;
use crate::simulate::catalogue::SCRIPT_AGENTS;
use crate::simulate::draw::Draw;
use crate::simulate::network;
use crate::simulate::parameters::{Common, Fraud};
use crate::simulate::plan::Planned;
use crate::simulate::purchase::{self, Basket, Buyer};
use crate::simulate::simulation::Scenario;
use crate::simulate::traffic::fresh_account;
use crate::simulate::world::{Account, Card, DAY_MS, Device, Place, World, near};

const HOUR_MS: f64 = 3_600_000.0;
/// Most transactions of one campaign, whatever is drawn.
const CAMPAIGN_MAX: u32 = 5_000;
/// Above this, in euro cents, a contactless payment at a counter asks for the PIN, which a thief does not have.
const CONTACTLESS_CENTS_MAX: f64 = 5_000.0;
/// Most draws for a purchase below that limit.
const CONTACTLESS_TRIES_MAX: u32 = 20;

/// What a campaign needs.
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) draw: &'a mut Draw,
    pub(crate) fraud: &'a Fraud,
    pub(crate) out: &'a mut Vec<Planned>,
}

/// A stolen card with what the thief knows of its holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loot {
    pub(crate) card: Card,
    pub(crate) victim: Option<u32>,
    pub(crate) holder: Place,
}

/// How a thief appears.
#[derive(Clone, Copy, Debug)]
struct Mask {
    device: Device,
    ip: IpAddr,
    account: Option<Account>,
    country: u8,
}

impl Stage<'_> {
    fn common(&self) -> &Common {
        &self.fraud.common
    }

    fn push(&mut self, planned: Planned, scenario: Scenario) {
        self.out.push(Planned { truth: Some(scenario), ..planned });
    }

    /// A stolen card: of a customer of this world, or of somebody never seen.
    fn loot(&mut self) -> Loot {
        let known = self.common().known_card_share;
        if self.draw.chance(known) {
            let number = self.draw.position(self.world.customers.len());
            if let Some(customer) = self.world.customers.get(number)
                && let Some(card) = self.draw.one_of(&customer.cards)
            {
                return Loot { card, victim: u32::try_from(number).ok(), holder: customer.address };
            }
        }
        let country = self.world.any_customer_country(self.draw);
        let card = self.world.new_card(country, self.draw);
        Loot { card, victim: None, holder: self.world.any_address(country, self.draw) }
    }

    /// The address that a thief of a card of that country is seen from, and its country.
    fn hideout(&mut self, card_country: u8) -> (IpAddr, u8) {
        let country = if self.draw.chance(self.fraud.common.local_address_share) {
            card_country
        } else if self.draw.chance(0.5) {
            self.world.any_customer_country(self.draw)
        } else {
            network::any_country(self.draw)
        };
        let ip = if self.draw.chance(self.fraud.common.data_centre_share) {
            network::data_centre(country, self.draw)
        } else {
            network::proxy(country, self.draw)
        };
        (ip, country)
    }

    fn mask(&mut self, card_country: u8, at_ms: i64) -> Mask {
        let (ip, country) = self.hideout(card_country);
        let is_guest = self.draw.chance(self.fraud.common.guest_share);
        let account = (!is_guest).then(|| fresh_account(self.world, at_ms, 0.6, self.draw));
        Mask { device: self.world.new_device(self.draw), ip, account, country }
    }

    fn thief(&mut self, loot: &Loot, mask: &Mask, shipping: Place) -> Buyer {
        let town = self.world.any_town(mask.country, self.draw);
        Buyer {
            customer: loot.victim,
            account: mask.account,
            card: loot.card,
            device: Some(mask.device),
            ip: Some(mask.ip),
            at: near(self.world.towns[town as usize].at, 0.08, self.draw),
            // A thief who bought the card's data mostly has the holder's address with it.
            billing: if self.draw.chance(0.75) { loot.holder } else { shipping },
            shipping,
            taste: 0.45 * self.draw.normal(),
            whim: 0.25,
            is_cardholder: false,
        }
    }

    /// Where parcels are collected: mostly in the cardholder's country, as anything else is suspicious.
    fn drop_address(&mut self, holder: Place) -> Place {
        let country =
            if self.draw.chance(0.7) { holder.country } else { self.world.any_customer_country(self.draw) };
        self.world.any_address(country, self.draw)
    }

    fn merchant(&mut self, country: u8, resale_share: f64) -> Option<u32> {
        if self.draw.chance(resale_share)
            && let Some(merchant) = self.world.resale_merchant(self.draw)
        {
            return Some(merchant);
        }
        self.world.online_merchant(country, self.draw)
    }

    fn buy_online(&mut self, merchant: u32, buyer: &Buyer, at_ms: i64, scenario: Scenario) {
        let basket = purchase::basket(&self.world.merchants[merchant as usize], buyer, self.draw);
        let planned = purchase::online(self.world, merchant, buyer, basket, at_ms, self.draw);
        self.push(planned, scenario);
    }

    /// At a counter with a stolen or cloned card: without the PIN only small amounts work.
    fn buy_at_counter(
        &mut self,
        terminal: u32,
        loot: &Loot,
        at_ms: i64,
        is_contactless: bool,
        scenario: Scenario,
    ) {
        let at = self.world.terminals[terminal as usize].at;
        let buyer = Buyer {
            customer: loot.victim,
            account: None,
            card: loot.card,
            device: None,
            ip: None,
            at,
            billing: loot.holder,
            shipping: loot.holder,
            taste: if is_contactless { -0.1 } else { 0.3 },
            whim: 0.3,
            is_cardholder: false,
        };
        let mut planned = purchase::counter(self.world, terminal, &buyer, at_ms, self.draw);
        for _ in 0..CONTACTLESS_TRIES_MAX {
            let currency = self.world.merchants[planned.merchant as usize].currency;
            let per_cent = crate::simulate::catalogue::COUNTRIES[usize::from(currency)].minor_per_cent;
            if !is_contactless || cast::double(planned.minor) <= CONTACTLESS_CENTS_MAX * per_cent {
                break;
            }
            planned = purchase::counter(self.world, terminal, &buyer, at_ms, self.draw);
        }
        self.push(planned, scenario);
    }

    pub(crate) fn card_testing(&mut self, at_ms: i64) {
        let settings = self.fraud.card_testing;
        let tries = self.draw.geometric(2, settings.size_mean).min(CAMPAIGN_MAX);
        let is_slow = self.draw.chance(settings.slow_share);
        let is_rotating = self.draw.chance(settings.rotating_share);
        let one_bank = self.draw.chance(0.5);
        let gap_ms = if is_slow {
            self.draw.between(0.3, 4.0) * HOUR_MS
        } else {
            self.draw.between(6.0, 90.0) * 1_000.0
        };
        let tiny_cents = self.draw.between(80.0, 1_500.0);
        let first = self.loot();
        let mut mask = self.mask(first.card.country, at_ms);
        let targets: [Option<u32>; 2] = std::array::from_fn(|_| {
            let small = self.draw.one_of(&self.world.small_ticket);
            if self.draw.chance(0.7) {
                small
            } else {
                self.world.online_merchant(first.holder.country, self.draw)
            }
        });
        let mut at_ms = at_ms;
        for _ in 0..tries {
            let mut loot = self.loot();
            if one_bank && loot.victim.is_none() {
                loot.card.bin = first.card.bin;
                loot.card.country = first.card.country;
                loot.card.funding = first.card.funding;
            }
            if is_rotating || self.draw.chance(0.05) {
                mask = self.mask(loot.card.country, at_ms);
            }
            let Some(merchant) = self.draw.one_of(&targets).flatten() else { continue };
            let buyer = self.thief(&loot, &mask, loot.holder);
            let basket = Basket { cents: self.draw.lognormal(tiny_cents, 0.5), items: 1 };
            let planned = purchase::online(self.world, merchant, &buyer, basket, at_ms, self.draw);
            self.push(planned, Scenario::CardTesting);
            if self.draw.chance(settings.cash_out_share) {
                self.cash_out(&loot, at_ms);
            }
            at_ms += cast::whole(self.draw.exponential(gap_ms)) + 800;
        }
    }

    /// The card works: it is used for something that sells, by somebody else.
    fn cash_out(&mut self, loot: &Loot, tested_ms: i64) {
        let at_ms = tested_ms + cast::whole(self.draw.lognormal(14.0, 1.2) * HOUR_MS);
        let mask = self.mask(loot.card.country, at_ms);
        let shipping = self.drop_address(loot.holder);
        let buyer = self.thief(loot, &mask, shipping);
        if let Some(merchant) = self.merchant(loot.holder.country, 0.8) {
            self.buy_online(merchant, &buyer, at_ms, Scenario::CardTesting);
        }
    }

    pub(crate) fn stolen_card_spree(&mut self, at_ms: i64) {
        let settings = self.fraud.stolen_card_spree;
        let purchases = self.draw.geometric(1, settings.size_mean).min(CAMPAIGN_MAX);
        let gap_hours = if self.draw.chance(settings.slow_share) { 22.0 } else { 0.7 };
        let loot = self.loot();
        let at_counters = self.draw.chance(settings.counter_share);
        let town = match loot.victim.and_then(|victim| self.world.customers.get(victim as usize)) {
            Some(victim) => victim.town,
            None => self.world.any_town(loot.holder.country, self.draw),
        };
        let mask = self.mask(loot.card.country, at_ms);
        let shipping = self.drop_address(loot.holder);
        let mut at_ms = at_ms;
        for _ in 0..purchases {
            if at_counters && let Some(terminal) = self.world.terminal_in(town, self.draw) {
                self.buy_at_counter(terminal, &loot, at_ms, true, Scenario::StolenCardSpree);
            } else if let Some(merchant) = self.merchant(loot.holder.country, settings.resale_share) {
                let buyer = self.thief(&loot, &mask, shipping);
                self.buy_online(merchant, &buyer, at_ms, Scenario::StolenCardSpree);
            }
            at_ms += cast::whole(self.draw.exponential(gap_hours * HOUR_MS)) + 30_000;
        }
    }

    pub(crate) fn account_takeover(&mut self, at_ms: i64) {
        let settings = self.fraud.account_takeover;
        let number = self.draw.position(self.world.customers.len());
        let Some(victim) = self.world.customers.get(number) else { return };
        if victim.account.created_ms >= at_ms {
            return;
        }
        let purchases = self.draw.geometric(1, settings.size_mean).min(CAMPAIGN_MAX);
        let home_country = victim.address.country;
        let (device, ip, country) = if self.draw.chance(settings.hijacked_device_share) {
            (self.draw.one_of(&victim.devices), victim.home, home_country)
        } else {
            let country = if self.draw.chance(settings.foreign_share) {
                network::any_country(self.draw)
            } else {
                home_country
            };
            let ip = if self.draw.chance(self.fraud.common.data_centre_share) {
                network::data_centre(country, self.draw)
            } else {
                network::proxy(country, self.draw)
            };
            (Some(self.world.new_device(self.draw)), ip, country)
        };
        let shipping = if self.draw.chance(settings.new_address_share) {
            self.drop_address(victim.address)
        } else {
            victim.address
        };
        let town =
            if country == home_country { victim.town } else { self.world.any_town(country, self.draw) };
        let card = self.draw.one_of(&victim.cards);
        let mut at_ms = at_ms;
        for _ in 0..purchases {
            let Some(card) = card else { return };
            let buyer = Buyer {
                customer: u32::try_from(number).ok(),
                account: Some(victim.account),
                card,
                device,
                ip: Some(ip),
                at: near(self.world.towns[town as usize].at, 0.08, self.draw),
                billing: victim.address,
                shipping,
                taste: victim.wealth * 0.5 + settings.basket_log_factor + 0.5 * self.draw.normal(),
                whim: 0.25,
                is_cardholder: false,
            };
            let usual = self.draw.one_of(&victim.online_favourites);
            let elsewhere = self.merchant(home_country, 0.6);
            let merchant = if self.draw.chance(0.5) { usual.or(elsewhere) } else { elsewhere };
            if let Some(merchant) = merchant {
                self.buy_online(merchant, &buyer, at_ms, Scenario::AccountTakeover);
            }
            at_ms += cast::whole(self.draw.exponential(0.6 * HOUR_MS)) + 45_000;
        }
    }

    /// A copied card is abused; `accomplice` is the terminal that plays along.
    pub(crate) fn copied_card(&mut self, loot: &Loot, accomplice: Option<u32>, at_ms: i64) {
        let settings = self.fraud.compromised_terminal;
        let abuses = self.draw.geometric(1, settings.size_mean).min(CAMPAIGN_MAX);
        let at_counters = self.draw.chance(settings.counter_share);
        let place = if self.draw.chance(0.5) {
            loot.holder.country
        } else {
            self.world.any_customer_country(self.draw)
        };
        let town = self.world.any_town(place, self.draw);
        let mask = self.mask(loot.card.country, at_ms);
        let shipping = self.drop_address(loot.holder);
        let mut at_ms = at_ms;
        for _ in 0..abuses {
            let elsewhere = self.world.terminal_in(town, self.draw);
            let terminal = if self.draw.chance(0.5) { accomplice.or(elsewhere) } else { elsewhere };
            if at_counters && let Some(terminal) = terminal {
                let is_contactless = self.draw.chance(0.4);
                self.buy_at_counter(terminal, loot, at_ms, is_contactless, Scenario::CompromisedTerminal);
            } else if let Some(merchant) = self.merchant(loot.holder.country, 0.45) {
                let buyer = self.thief(loot, &mask, shipping);
                self.buy_online(merchant, &buyer, at_ms, Scenario::CompromisedTerminal);
            }
            at_ms += cast::whole(self.draw.exponential(9.0 * HOUR_MS)) + 60_000;
        }
    }

    pub(crate) fn bulk_purchase(&mut self, at_ms: i64) {
        let settings = self.fraud.bulk_purchase;
        let orders = self.draw.geometric(1, settings.size_mean).min(CAMPAIGN_MAX);
        let is_modest = self.draw.chance(settings.modest_share);
        let first = self.loot();
        let mask = self.mask(first.card.country, at_ms);
        let shipping = self.drop_address(first.holder);
        let Some(merchant) = self.world.resale_merchant(self.draw) else { return };
        let mut at_ms = at_ms;
        for _ in 0..orders {
            let loot = self.loot();
            let buyer = self.thief(&loot, &mask, shipping);
            let items = if is_modest {
                1 + self.draw.poisson(1.5).min(4)
            } else {
                self.draw.geometric(2, settings.items_mean)
            };
            let seller = &self.world.merchants[merchant as usize];
            let basket = purchase::bulk_basket(seller, &buyer, items, self.draw);
            let planned = purchase::online(self.world, merchant, &buyer, basket, at_ms, self.draw);
            self.push(planned, Scenario::BulkPurchase);
            at_ms += cast::whole(self.draw.exponential(5.0 * HOUR_MS)) + 60_000;
        }
    }

    pub(crate) fn bot_traffic(&mut self, at_ms: i64) {
        let settings = self.fraud.bot_traffic;
        let attempts = self.draw.geometric(2, settings.size_mean).min(CAMPAIGN_MAX);
        let is_disguised = self.draw.chance(settings.disguised_share);
        let country = self.world.any_customer_country(self.draw);
        let wants_popular = self.draw.chance(0.5);
        let popular = self.world.online_merchant(country, self.draw);
        let Some(merchant) =
            popular.filter(|_| wants_popular).or_else(|| self.world.resale_merchant(self.draw))
        else {
            return;
        };
        let price = self.draw.lognormal(4_500.0, 0.8);
        let script = self.draw.one_of(&SCRIPT_AGENTS).unwrap_or_default();
        let mut device = Device { key: self.draw.word(), agent: script };
        let mut at_ms = at_ms;
        for _ in 0..attempts {
            let loot = self.loot();
            if is_disguised {
                device = self.world.new_device(self.draw);
            } else if self.draw.chance(0.2) {
                device = Device { key: self.draw.word(), agent: script };
            }
            let mut mask = self.mask(loot.card.country, at_ms);
            mask.device = device;
            mask.ip = if self.draw.chance(settings.proxy_share) {
                network::proxy(mask.country, self.draw)
            } else {
                network::data_centre(mask.country, self.draw)
            };
            let buyer = self.thief(&loot, &mask, loot.holder);
            let items = self.draw.geometric(1, 1.4);
            let basket = Basket { cents: price * f64::from(items), items };
            let planned = purchase::online(self.world, merchant, &buyer, basket, at_ms, self.draw);
            self.push(planned, Scenario::BotTraffic);
            at_ms += cast::whole(self.draw.exponential(settings.gap_seconds_mean * 1_000.0)) + 1;
        }
    }
}

/// A moment of that day for a fraudster: half of them keep shop hours, half do not care.
pub(crate) fn moment(day_start_ms: i64, draw: &mut Draw) -> i64 {
    let minute = if draw.chance(0.5) { draw.between(8.0, 22.0) * 60.0 } else { draw.between(0.0, 1_440.0) };
    day_start_ms + cast::whole(minute * 60_000.0).min(DAY_MS - 1)
}
