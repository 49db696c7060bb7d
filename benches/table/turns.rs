//! Contestants in turns: each is measured once in each round, a different one first each time, so that whatever else the machine does
//! strikes all alike. A ratio is taken within a round; medians over rounds are given with the least and the most.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::table::options::Format;
use crate::table::report::Section;

/// Items before the clock starts: whoever was there before has left its data in the caches.
const WARM_ITEMS: usize = 32;
/// Items between two looks at the clock.
const ITEMS_PER_LOOK: usize = 8;

/// The columns of a section.
const COLUMNS: &[&str] = &["contestant", "median", "least", "most", "x tollgate", "x least", "x most"];

/// How long it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) rounds: usize,
    pub(crate) pass_time: Duration,
    /// Whether other data goes through the caches before each item.
    pub(crate) is_cold: bool,
}

/// What goes through the caches before a cold item: more than they hold.
const COLD_BYTES: usize = 64 << 20;
/// Bytes of a line of the caches.
const LINE_BYTES: usize = 64;

/// One contestant: its name, and what it does with the item of a number.
pub(crate) type Turn<'a> = (String, Box<dyn FnMut(usize) + 'a>);

impl Turns {
    /// Measures them all, the first of whom the others are held against: microseconds an item.
    pub(crate) fn section(
        &self,
        name: &'static str,
        title: String,
        all: Vec<Turn<'_>>,
        items: usize,
    ) -> Section {
        let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
        let times = self.times(all, items);
        let mut section = Section::new(name, title, COLUMNS);
        for (name, of_one) in names.iter().zip(&times) {
            let time = spread(of_one.clone());
            let ratio =
                spread(of_one.iter().zip(&times[0]).map(|(one, reference)| one / reference).collect());
            section.row([
                name.as_str().into(),
                time[1].into(),
                time[0].into(),
                time[2].into(),
                ratio[1].into(),
                ratio[0].into(),
                ratio[2].into(),
            ]);
        }
        section.note(self.note());
        section
    }

    /// What a time means.
    pub(crate) fn note(&self) -> String {
        format!("{} rounds; the median item of a pass of {:?} counts.", self.rounds, self.pass_time)
    }

    /// Measures them all. By contestant: its time in each round, in microseconds an item.
    pub(crate) fn times(&self, mut all: Vec<Turn<'_>>, items: usize) -> Vec<Vec<f64>> {
        let mut times = vec![vec![]; all.len()];
        for round in 0..self.rounds {
            for turn in 0..all.len() {
                let number = (round + turn) % all.len();
                times[number].push(self.pass(&mut all[number].1, items));
            }
        }
        times
    }

    /// The median time of an item, in microseconds.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
    fn pass(&self, run: &mut dyn FnMut(usize), items: usize) -> f64 {
        let mut next = (0..items).cycle();
        next.by_ref().take(WARM_ITEMS).for_each(&mut *run);
        let mut other_data = vec![0_u8; if self.is_cold { COLD_BYTES } else { 0 }];
        let items_per_look = if self.is_cold { 1 } else { ITEMS_PER_LOOK };
        let mut looks = Vec::new();
        let begin = Instant::now();
        while looks.is_empty() || begin.elapsed() < self.pass_time {
            other_data.iter_mut().step_by(LINE_BYTES).for_each(|byte| *byte = byte.wrapping_add(1));
            black_box(&other_data);
            let look = Instant::now();
            for item in next.by_ref().take(items_per_look) {
                run(black_box(item));
            }
            looks.push(look.elapsed().as_secs_f64() * 1e6 / items_per_look as f64);
        }
        spread(looks)[1]
    }
}

/// Least, median and most.
pub(crate) fn spread(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_unstable_by(f64::total_cmp);
    [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
}

/// Prints sections.
pub(crate) fn print(sections: &[Section], format: Format) {
    match format {
        Format::Text => sections.iter().for_each(|section| println!("{}", section.text())),
        Format::Markdown => sections.iter().for_each(|section| println!("{}", section.markdown())),
        Format::Json => {
            let sections: Vec<_> = sections.iter().map(Section::json).collect();
            println!("{}", serde_json::Value::from(sections));
        }
    }
}
