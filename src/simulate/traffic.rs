//! Legitimate purchases, one day at a time: habits, and everything harmless that looks like fraud.

use std::net::IpAddr;

use crate::simulate::cast;
use crate::simulate::catalogue::COUNTRIES;
use crate::simulate::draw::Draw;
use crate::simulate::network;
use crate::simulate::parameters::{Behaviour, Parameters};
use crate::simulate::plan::Planned;
use crate::simulate::purchase::{self, Buyer};
use crate::simulate::world::{
    Account, CARDS_MAX, Card, Customer, DAY_MS, DEVICES_MAX, Journey, Place, World, near,
};

const MINUTE_MS: f64 = 60_000.0;
/// Most purchases of one customer on one day before retries and sprees: a bound, far above any drawn rate.
const PURCHASES_PER_DAY_MAX: u32 = 500;
/// Among how many of the most popular online merchants a flash sale happens.
const FLASH_SALE_MERCHANTS: usize = 25;
/// Spending by weekday, Monday first.
const WEEKDAYS: [f64; 7] = [0.90, 0.90, 0.93, 1.0, 1.15, 1.22, 0.90];
/// Accounts of passers-by have numbers above the customers', out of this many.
const PASSERBY_NUMBERS: u64 = 1_000_000_000;

/// The stream of legitimate purchases.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    draw: Draw,
    behaviour: Behaviour,
    start_ms: i64,
}

impl Traffic {
    pub(crate) fn new(parameters: &Parameters, start_ms: i64) -> Self {
        Self { draw: Draw::new(parameters.seed, 1), behaviour: parameters.behaviour, start_ms }
    }

    /// Plans the purchases that begin on that day, in no order. Retries and sprees may run on into the next day.
    pub(crate) fn day(&mut self, world: &mut World, day: u32, out: &mut Vec<Planned>) {
        let day_start_ms = self.start_ms + i64::from(day) * DAY_MS;
        let before = out.len();
        for number in 0..u32::try_from(world.customers.len()).unwrap_or(u32::MAX) {
            self.customer_day(world, number, day, day_start_ms, out);
        }
        let purchases = f64::from(u32::try_from(out.len() - before).unwrap_or(u32::MAX));
        for _ in 0..self.draw.poisson(purchases * self.behaviour.passerby_share) {
            self.passerby(world, day_start_ms, out);
        }
        if self.draw.chance(self.behaviour.flash_sale_per_day) {
            self.flash_sale(world, day_start_ms, out);
        }
    }

    fn customer_day(
        &mut self,
        world: &mut World,
        number: u32,
        day: u32,
        day_start_ms: i64,
        out: &mut Vec<Planned>,
    ) {
        let draw = &mut self.draw;
        let customer = &mut world.customers[number as usize];
        if customer.account.created_ms >= day_start_ms + DAY_MS {
            return;
        }
        if customer.journey.is_some_and(|journey| journey.last_day < day) {
            customer.journey = None;
        }
        if customer.journey.is_none() && draw.chance(self.behaviour.journey_per_day) {
            let last_day = day + 2 + draw.poisson(5.0).min(13);
            let country = world.any_customer_country(draw);
            let town = world.any_town(country, draw);
            let hotel = network::office(country, draw.below(1 << 14));
            world.customers[number as usize].journey = Some(Journey { town, last_day, hotel });
        }
        let rate = world.customers[number as usize].purchases_per_day * WEEKDAYS[weekday(day_start_ms)];
        for _ in 0..self.draw.poisson(rate).min(PURCHASES_PER_DAY_MAX) {
            let customer = &world.customers[number as usize];
            let at_ms = day_start_ms + self.time_of_day(customer.peak_minute, customer.address.country);
            if at_ms > customer.account.created_ms {
                self.outing(world, number, at_ms, out);
            }
        }
    }

    /// A moment in the UTC day, in milliseconds, for somebody who prefers that minute of the local day.
    fn time_of_day(&mut self, peak_minute: f64, country: u8) -> i64 {
        let minute = if self.draw.chance(0.8) {
            peak_minute + 170.0 * self.draw.normal()
        } else {
            self.draw.between(6.5, 24.5) * 60.0
        };
        let local_ms = cast::whole(minute * MINUTE_MS);
        (local_ms - COUNTRIES[usize::from(country)].offset_minutes * 60_000).rem_euclid(DAY_MS)
    }

    /// One purchase and what follows from it: retries, a spree, a series in a game.
    fn outing(&mut self, world: &mut World, number: u32, at_ms: i64, out: &mut Vec<Planned>) {
        if self.draw.chance(self.behaviour.new_card_share) {
            let country = world.customers[number as usize].address.country;
            let card = world.new_card(country, &mut self.draw);
            let cards = &mut world.customers[number as usize].cards;
            if cards.len() >= CARDS_MAX {
                cards.remove(0);
            }
            cards.insert(0, card);
        }
        if world.customers[number as usize].is_gamer && self.draw.chance(0.2) {
            return self.game_series(world, number, at_ms, out);
        }
        let purchases =
            if self.draw.chance(self.behaviour.spree_share) { self.draw.geometric(2, 3.5).min(7) } else { 1 };
        let mut at_ms = at_ms;
        for _ in 0..purchases {
            let Some(planned) = self.purchase(world, number, at_ms) else { continue };
            out.push(planned);
            if self.draw.chance(self.behaviour.retry_share) {
                self.retries(world, number, planned, out);
            }
            at_ms += cast::whole(self.draw.exponential(28.0 * MINUTE_MS)) + 20_000;
        }
    }

    /// The same purchase again, up to three times, now and then with another card.
    fn retries(&mut self, world: &World, number: u32, first: Planned, out: &mut Vec<Planned>) {
        let mut again = first;
        for _ in 0..self.draw.geometric(1, 1.5).min(3) {
            again.at_ms += cast::whole(self.draw.exponential(55_000.0)) + 5_000;
            if self.draw.chance(0.35)
                && let Some(card) = self.draw.one_of(&world.customers[number as usize].cards)
            {
                again.card = card;
            }
            out.push(again);
        }
    }

    /// Many small purchases within minutes: harmless, and much like card testing.
    fn game_series(&mut self, world: &mut World, number: u32, at_ms: i64, out: &mut Vec<Planned>) {
        let Some(merchant) = self.draw.one_of(&world.small_ticket) else { return };
        let buyer = self.online_buyer(world, number, at_ms);
        let mut at_ms = at_ms;
        for _ in 0..self.draw.geometric(2, 5.0).min(20) {
            let cents = self.draw.lognormal(320.0, 0.8);
            let basket = purchase::Basket { cents, items: 1 };
            out.push(purchase::online(world, merchant, &buyer, basket, at_ms, &mut self.draw));
            at_ms += cast::whole(self.draw.exponential(100_000.0)) + 4_000;
        }
    }

    fn purchase(&mut self, world: &mut World, number: u32, at_ms: i64) -> Option<Planned> {
        let customer = &world.customers[number as usize];
        let (country, journey, town) = (customer.address.country, customer.journey, customer.town);
        let online_share = if journey.is_some() { 0.3 } else { customer.online_share };
        if self.draw.chance(self.behaviour.moto_share) {
            let merchant = world.online_merchant(country, &mut self.draw)?;
            let buyer = self.online_buyer(world, number, at_ms);
            return Some(purchase::telephone(world, merchant, &buyer, at_ms, &mut self.draw));
        }
        if !self.draw.chance(online_share) {
            let town = journey.map_or(town, |journey| journey.town);
            let favourites = &world.customers[number as usize].terminal_favourites;
            let favourite =
                if journey.is_none() && self.draw.chance(0.65) { self.draw.one_of(favourites) } else { None };
            if let Some(terminal) = favourite.or_else(|| world.terminal_in(town, &mut self.draw)) {
                let buyer = self.counter_buyer(world, number);
                return Some(purchase::counter(world, terminal, &buyer, at_ms, &mut self.draw));
            }
        }
        let favourite = if self.draw.chance(0.6) {
            self.draw.one_of(&world.customers[number as usize].online_favourites)
        } else {
            None
        };
        let merchant = favourite.or_else(|| world.online_merchant(country, &mut self.draw))?;
        let buyer = self.online_buyer(world, number, at_ms);
        let seller = &world.merchants[merchant as usize];
        let basket = if world.customers[number as usize].is_trader && self.draw.chance(0.5) {
            let items = self.draw.geometric(5, 20.0);
            purchase::bulk_basket(seller, &buyer, items, &mut self.draw)
        } else {
            purchase::basket(seller, &buyer, &mut self.draw)
        };
        Some(purchase::online(world, merchant, &buyer, basket, at_ms, &mut self.draw))
    }

    fn taste(&mut self, wealth: f64) -> f64 {
        if self.draw.chance(self.behaviour.large_share) {
            wealth + self.draw.between(0.8, 2.2)
        } else {
            wealth
        }
    }

    fn counter_buyer(&mut self, world: &World, number: u32) -> Buyer {
        let customer = &world.customers[number as usize];
        let known = self.draw.chance(self.behaviour.counter_customer_share);
        let taste = self.taste(customer.wealth);
        Buyer {
            customer: Some(number),
            account: known.then_some(customer.account),
            card: self.favourite_card(customer),
            device: None,
            ip: None,
            at: customer.at,
            billing: customer.address,
            shipping: customer.address,
            taste,
            whim: customer.whim,
            is_cardholder: true,
        }
    }

    fn favourite_card(&mut self, customer: &Customer) -> Card {
        let position = if self.draw.chance(0.75) { 0 } else { self.draw.position(customer.cards.len()) };
        customer.cards[position]
    }

    fn online_buyer(&mut self, world: &mut World, number: u32, at_ms: i64) -> Buyer {
        if self.draw.chance(self.behaviour.new_device_share) {
            let device = world.new_device(&mut self.draw);
            let devices = &mut world.customers[number as usize].devices;
            if devices.len() >= DEVICES_MAX {
                devices.remove(0);
            }
            devices.insert(0, device);
        }
        if self.draw.chance(0.2) {
            let country = world.customers[number as usize].address.country;
            world.customers[number as usize].mobile = network::mobile(country, &mut self.draw);
        }
        let customer = &world.customers[number as usize];
        let position = if self.draw.chance(0.72) { 0 } else { self.draw.position(customer.devices.len()) };
        let device = customer.devices.get(position).copied();
        let at = customer.journey.map_or(customer.at, |journey| world.towns[journey.town as usize].at);
        let is_guest = self.draw.chance(self.behaviour.guest_share);
        let account = (!is_guest && at_ms >= customer.account.created_ms).then_some(customer.account);
        let (wealth, whim, billing) = (customer.wealth, customer.whim, customer.address);
        let card = self.favourite_card(customer);
        let ip = self.connection(world, number);
        Buyer {
            customer: Some(number),
            account,
            card,
            device,
            ip: Some(ip),
            at: near(at, 0.02, &mut self.draw),
            billing,
            shipping: self.parcel_address(world, billing),
            taste: self.taste(wealth),
            whim,
            is_cardholder: true,
        }
    }

    /// The address that the customer is seen from: home, phone, office, hotel or a privacy network.
    fn connection(&mut self, world: &World, number: u32) -> IpAddr {
        let customer = &world.customers[number as usize];
        if self.draw.chance(self.behaviour.vpn_share) {
            let abroad = self.draw.chance(0.5);
            let country =
                if abroad { network::any_country(&mut self.draw) } else { customer.address.country };
            return network::data_centre(country, &mut self.draw);
        }
        let place = self.draw.unit();
        if let Some(journey) = customer.journey {
            let country = world.towns[journey.town as usize].country;
            return if place < 0.5 { journey.hotel } else { network::mobile(country, &mut self.draw) };
        }
        match customer.office {
            _ if place < 0.34 => customer.mobile,
            Some(office) if place < 0.50 => office,
            _ => customer.home,
        }
    }

    fn parcel_address(&mut self, world: &World, own: Place) -> Place {
        let kind = self.draw.unit();
        let abroad = self.behaviour.abroad_gift_share;
        if kind < abroad {
            let country = world.any_customer_country(&mut self.draw);
            world.any_address(country, &mut self.draw)
        } else if kind < abroad + self.behaviour.other_address_share {
            world.any_address(own.country, &mut self.draw)
        } else {
            own
        }
    }

    /// Somebody whom this gateway sees once: a new card, a new device, often a new account. Thieves of cards look alike.
    fn passerby(&mut self, world: &World, day_start_ms: i64, out: &mut Vec<Planned>) {
        let country = world.any_customer_country(&mut self.draw);
        let peak_minute = self.draw.between(10.0, 22.0) * 60.0;
        let at_ms = day_start_ms + self.time_of_day(peak_minute, country);
        let buyer = self.passerby_buyer(world, country, at_ms);
        if self.draw.chance(self.behaviour.online_share) {
            out.extend(self.passerby_online(world, &buyer, at_ms));
        } else {
            let abroad = self.draw.chance(0.3);
            let place = if abroad { world.any_customer_country(&mut self.draw) } else { country };
            let town = world.any_town(place, &mut self.draw);
            if let Some(terminal) = world.terminal_in(town, &mut self.draw) {
                let tourist = Buyer { account: None, ..buyer };
                out.push(purchase::counter(world, terminal, &tourist, at_ms, &mut self.draw));
            }
        }
    }

    fn passerby_online(&mut self, world: &World, buyer: &Buyer, at_ms: i64) -> Option<Planned> {
        let merchant = world.online_merchant(buyer.billing.country, &mut self.draw)?;
        let basket = purchase::basket(&world.merchants[merchant as usize], buyer, &mut self.draw);
        Some(purchase::online(world, merchant, buyer, basket, at_ms, &mut self.draw))
    }

    fn passerby_buyer(&mut self, world: &World, country: u8, at_ms: i64) -> Buyer {
        let draw = &mut self.draw;
        let card = world.new_card(country, draw);
        let device = world.new_device(draw);
        let ip = match draw.unit() {
            kind if kind < self.behaviour.vpn_share => {
                let country = network::any_country(draw);
                network::data_centre(country, draw)
            }
            kind if kind < 0.40 => network::mobile(country, draw),
            _ => network::home(country, self.behaviour.ipv6_share, draw),
        };
        let town = world.any_town(country, draw);
        let at = near(world.towns[town as usize].at, 0.08, draw);
        let account = draw.chance(0.55).then(|| fresh_account(world, at_ms, 1.0, draw));
        let billing = world.any_address(country, draw);
        let shipping = self.parcel_address(world, billing);
        let wealth = 0.5 * self.draw.normal();
        Buyer {
            customer: None,
            account,
            card,
            device: Some(device),
            ip: Some(ip),
            at,
            billing,
            shipping,
            taste: self.taste(wealth),
            whim: 0.2,
            is_cardholder: true,
        }
    }

    /// A rush on one merchant within an hour: harmless, and much like bot traffic.
    fn flash_sale(&mut self, world: &mut World, day_start_ms: i64, out: &mut Vec<Planned>) {
        let popular = &world.online[..world.online.len().min(FLASH_SALE_MERCHANTS)];
        let Some(merchant) = self.draw.one_of(popular) else { return };
        let begin_ms = day_start_ms + cast::whole(self.draw.between(7.0, 20.0) * 60.0 * MINUTE_MS);
        let customers = u32::try_from(world.customers.len()).unwrap_or(u32::MAX);
        let buyers = self.draw.poisson(f64::from(customers) * self.behaviour.flash_sale_size);
        let price = self.draw.between(900.0, 9_000.0);
        for _ in 0..buyers {
            let at_ms = begin_ms + cast::whole(self.draw.exponential(14.0 * MINUTE_MS));
            let number = u32::try_from(self.draw.below(u64::from(customers))).unwrap_or(0);
            let buyer = if self.draw.chance(0.2) {
                let country = world.any_customer_country(&mut self.draw);
                self.passerby_buyer(world, country, at_ms)
            } else if world.customers[number as usize].account.created_ms < at_ms {
                self.online_buyer(world, number, at_ms)
            } else {
                continue;
            };
            let items = self.draw.geometric(1, 1.4);
            let basket = purchase::Basket { cents: price * f64::from(items), items };
            let planned = purchase::online(world, merchant, &buyer, basket, at_ms, &mut self.draw);
            out.push(Planned { campaign: Some(0), ..planned });
        }
    }
}

/// An account opened not long before: `days` is the median age.
pub(crate) fn fresh_account(world: &World, at_ms: i64, days: f64, draw: &mut Draw) -> Account {
    let age_days = draw.lognormal(days, 2.6).min(1_500.0);
    let customers = u64::try_from(world.customers.len()).unwrap_or(u64::MAX);
    Account {
        number: customers + 1 + draw.below(PASSERBY_NUMBERS),
        created_ms: at_ms - cast::whole(age_days * cast::double(DAY_MS)),
    }
}

/// Monday is 0: the first of January 1970 was a Thursday.
fn weekday(at_ms: i64) -> usize {
    usize::try_from((at_ms.div_euclid(DAY_MS) + 3).rem_euclid(7)).unwrap_or(0)
}
