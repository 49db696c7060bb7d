//! What rates need, computed from what was measured.

use crate::scale::service::Request;
use crate::table::report::Section;

const RATES: [f64; 2] = [10_000.0, 1_000_000.0 / 60.0];
/// How busy processors may be on average, so that bursts find room.
const BUSY: f64 = 0.6;
const DAY_S: f64 = 86_400.0;
/// How long the longest windows are.
const MONTH_DAYS: f64 = 30.0;
const COLUMNS: &[&str] = &["what", "of one", "at 10,000/s", "at 1,000,000 a minute"];

/// What it is computed from.
pub(crate) struct Measurements {
    pub(crate) request: Request,
    /// Heap of the windows after thirty days of so many customers with so many payments each.
    pub(crate) fill_bytes: i64,
    pub(crate) fill_users: u32,
    pub(crate) attempts: u64,
}

/// Cores, disk and memory.
pub(crate) fn needs(measured: &Measurements) -> Section {
    let Measurements { request, fill_bytes, fill_users, attempts } = measured;
    let title = "what rates need that hold all day, by the numbers above".to_owned();
    let mut section = Section::new("needs", title, COLUMNS);
    let mut row = |what: &str, of_one: f64, at: fn(f64, f64) -> f64| {
        let [slow, fast] = RATES.map(|rate| at(of_one, rate));
        section.row([what.into(), of_one.into(), slow.into(), fast.into()]);
    };
    let busy = |us: f64, rate: f64| us * rate / 1e6;
    row("processor time of the service, us a request; cores fully busy", request.service_cpu_us, busy);
    row("the same, cores at 60 %", request.service_cpu_us, |us, rate| us * rate / 1e6 / BUSY);
    row("processor time of Redis, us a request; cores at 60 %", request.redis_cpu_us, |us, rate| {
        us * rate / 1e6 / BUSY
    });
    row("audit log, bytes a record; MB/s", request.log_bytes, |bytes, rate| bytes * rate / 1e6);
    row("audit log, bytes a record; TB a day", request.log_bytes, |bytes, rate| bytes * rate * DAY_S / 1e12);
    let a_customer = *fill_bytes as f64 / f64::from(*fill_users);
    let a_payment = a_customer / *attempts as f64;
    row("windows, bytes a payment; GB after thirty days of it", a_payment, |bytes, rate| {
        bytes * rate * DAY_S * MONTH_DAYS / 1e9
    });
    section.note(format!(
        "Windows hold {a_customer:.0} bytes a customer with {attempts} payments in thirty days: {:.2} GB per million active customers. \
         `max_keys` in the catalogue bounds them, whatever the rate; what is beyond is forgotten, oldest first.",
        a_customer / 1e3
    ));
    section
}
