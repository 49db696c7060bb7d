//! One purchase as anybody makes it: the price, the basket, the proof of identity. Customers and thieves use the same
//! functions, so that what sets them apart is what they choose and not how it is written down.

use std::net::IpAddr;

use crate::simulate::cast;
use crate::simulate::catalogue::{CATEGORIES, COUNTRIES};
use crate::simulate::draw::Draw;
use crate::simulate::plan::{Channel, Planned};
use crate::simulate::world::{Account, Card, Device, Merchant, Place, Point, World};

/// Largest purchase, in euro cents.
const CENTS_MAX: f64 = 3_000_000.0;
/// Smallest purchase, in euro cents.
const CENTS_MIN: f64 = 50.0;
/// Up to this amount, in euro cents, merchants mostly do without 3-D Secure.
const EXEMPT_CENTS: f64 = 3_000.0;
/// Largest number of items in one basket.
const ITEMS_MAX: u32 = 400;

/// Who buys, with what, from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buyer {
    /// Position in the world's customers, when the buyer is or poses as one.
    pub(crate) customer: Option<u32>,
    pub(crate) account: Option<Account>,
    pub(crate) card: Card,
    pub(crate) device: Option<Device>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) at: Point,
    pub(crate) billing: Place,
    pub(crate) shipping: Place,
    /// Logarithm of what the buyer spends, relative to the merchant's price level.
    pub(crate) taste: f64,
    /// Standard deviation of the logarithm of the amounts, on top of the category's.
    pub(crate) whim: f64,
    /// Whether the buyer can answer the issuer's challenge in 3-D Secure.
    pub(crate) is_cardholder: bool,
}

/// What is bought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basket {
    /// Euro cents.
    pub(crate) cents: f64,
    pub(crate) items: u32,
}

/// An ordinary basket of that merchant.
pub(crate) fn basket(merchant: &Merchant, buyer: &Buyer, draw: &mut Draw) -> Basket {
    let category = &CATEGORIES[usize::from(merchant.category)];
    let items = draw.geometric(1, category.items_mean).min(ITEMS_MAX);
    let relative = f64::from(items) / category.items_mean;
    let sigma = (category.sigma * category.sigma + buyer.whim * buyer.whim).sqrt();
    let level = merchant.price_level + buyer.taste + 0.5 * libm::log(relative);
    Basket { cents: draw.lognormal(category.median_cents * libm::exp(level), 0.8 * sigma), items }
}

/// A basket of that many pieces of one thing.
pub(crate) fn bulk_basket(merchant: &Merchant, buyer: &Buyer, items: u32, draw: &mut Draw) -> Basket {
    let single = basket(merchant, buyer, draw);
    let unit = single.cents / f64::from(single.items.max(1));
    let items = items.min(ITEMS_MAX);
    // Who buys many pays less for each.
    Basket { cents: unit * libm::pow(f64::from(items), 0.85), items }
}

/// A purchase online.
pub(crate) fn online(
    world: &World,
    merchant_number: u32,
    buyer: &Buyer,
    basket: Basket,
    at_ms: i64,
    draw: &mut Draw,
) -> Planned {
    let merchant = &world.merchants[merchant_number as usize];
    let category = &CATEGORIES[usize::from(merchant.category)];
    let shares_location = draw.chance(0.7);
    let names_billing = draw.chance(0.93);
    let gift = draw.unit();
    Planned {
        at_ms,
        minor: charge(merchant, basket.cents, draw),
        channel: Channel::Ecommerce,
        customer: buyer.customer,
        account: buyer.account,
        card: buyer.card,
        merchant: merchant_number,
        terminal: None,
        device: buyer.device,
        ip: buyer.ip,
        at: (merchant.locates && shares_location).then_some(buyer.at),
        billing: names_billing.then_some(buyer.billing),
        shipping: category.ships.then_some(buyer.shipping),
        items: Some(basket.items),
        eci: authentication(merchant, buyer, basket.cents, draw),
        session: Some(draw.word()),
        campaign: draw.chance(0.12).then(|| 1 + u8::from(draw.chance(0.5)) + 2 * u8::from(draw.chance(0.3))),
        gift: category.ships.then_some(gift < 0.05 || (buyer.shipping != buyer.billing && gift < 0.35)),
        truth: None,
    }
}

/// A purchase at a merchant's counter. The device is the terminal; the customer is known by a loyalty card at best.
pub(crate) fn counter(
    world: &World,
    terminal_number: u32,
    buyer: &Buyer,
    at_ms: i64,
    draw: &mut Draw,
) -> Planned {
    let terminal = &world.terminals[terminal_number as usize];
    let merchant = &world.merchants[terminal.merchant as usize];
    let basket = basket(merchant, buyer, draw);
    let counts_items = draw.chance(0.5);
    Planned {
        at_ms,
        minor: charge(merchant, basket.cents, draw),
        channel: Channel::Pos,
        customer: buyer.customer,
        account: buyer.account,
        card: buyer.card,
        merchant: terminal.merchant,
        terminal: Some(terminal_number),
        device: None,
        ip: None,
        at: Some(terminal.at),
        billing: None,
        shipping: None,
        items: counts_items.then_some(basket.items),
        eci: None,
        session: None,
        campaign: None,
        gift: None,
        truth: None,
    }
}

/// A purchase by telephone: the merchant's agent keys it in, so the device and address are the merchant's for all callers.
pub(crate) fn telephone(
    world: &World,
    merchant_number: u32,
    buyer: &Buyer,
    at_ms: i64,
    draw: &mut Draw,
) -> Planned {
    let merchant = &world.merchants[merchant_number as usize];
    let basket = basket(merchant, buyer, draw);
    let desk = super::network::office(merchant.country, merchant.desk.key);
    let agent = Buyer { device: Some(merchant.desk), ip: Some(desk), ..*buyer };
    let planned = online(world, merchant_number, &agent, basket, at_ms, draw);
    Planned { channel: Channel::Moto, at: None, eci: None, session: None, campaign: None, ..planned }
}

/// The price in the merchant's currency, in minor units: at least 1, and often ending as prices do.
pub(crate) fn charge(merchant: &Merchant, cents: f64, draw: &mut Draw) -> i64 {
    let country = &COUNTRIES[usize::from(merchant.currency)];
    let minor = cast::whole(cents.clamp(CENTS_MIN, CENTS_MAX) * country.minor_per_cent).max(1);
    let whole = minor / 100 * 100;
    match draw.unit() {
        ending if ending < 0.35 => whole + 99,
        ending if ending < 0.50 && whole > 0 => whole,
        ending if ending < 0.60 => whole + 50,
        _ => minor,
    }
}

/// The Electronic Commerce Indicator: 05 authenticated, 06 attempted, 07 not authenticated; none when nobody asked.
fn authentication(merchant: &Merchant, buyer: &Buyer, cents: f64, draw: &mut Draw) -> Option<&'static str> {
    let exempt = if cents < EXEMPT_CENTS { 0.3 } else { 1.0 };
    let (asked, outcome) = (draw.chance(merchant.authenticates * exempt), draw.unit());
    // A thief avoids merchants and amounts that ask, and sometimes gets through: by a phished code, or without a challenge.
    match (asked, buyer.is_cardholder) {
        (true, true) if outcome < 0.84 => Some("05"),
        (true, true) if outcome < 0.95 => Some("06"),
        (true, false) if outcome < 0.40 => Some("05"),
        (true, false) if outcome < 0.60 => Some("06"),
        (true, false) if outcome < 0.80 => None,
        (true, _) => Some("07"),
        (false, _) if outcome < 0.35 => Some("07"),
        (false, _) => None,
    }
}
