//! What Prometheus reads of the files about addresses: written anew at each scrape from what is live. Nothing where config names none.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::pipeline::ip::age;
use crate::pipeline::service::Service;

/// A label's value, with what would end it escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Service {
    /// Puts the series into a text.
    pub(super) fn write_ip(&self, text: &mut String) -> std::fmt::Result {
        let now = self.clock.now();
        let Some(status) = self.ip.status(now) else { return Ok(()) };
        let live = self.ip.live();
        let mut family = |name: &str, kind: &str, help: &str, series: &[(String, u64)]| {
            writeln!(text, "# HELP tollgate_ip_{name} {help}.\n# TYPE tollgate_ip_{name} {kind}")?;
            let suffix = if kind == "counter" { "_total" } else { "" };
            series
                .iter()
                .try_for_each(|(labels, value)| writeln!(text, "tollgate_ip_{name}{suffix}{labels} {value}"))
        };
        let of_database =
            |file: &std::path::Path| format!("{{database=\"{}\"}}", escaped(&file.display().to_string()));
        let databases = live.databases();
        let ages: Vec<_> =
            databases.iter().map(|it| (of_database(&it.file), age(it.built_at_s(), now).as_secs())).collect();
        family("database_age_seconds", "gauge", "How long ago a database was made", &ages)?;
        let nodes: Vec<_> = databases.iter().map(|it| (of_database(&it.file), it.nodes())).collect();
        family("database_nodes", "gauge", "Nodes of a database's tree", &nodes)?;
        let lists = live.lists().iter();
        let entries: Vec<_> =
            lists.map(|it| (format!("{{list=\"{}\"}}", it.config.name), it.entries as u64)).collect();
        family("list_entries", "gauge", "Addresses and blocks on a list", &entries)?;
        let lookups = &self.ip.lookups;
        let lookups =
            [("known", &lookups.known), ("unknown", &lookups.unknown), ("reserved", &lookups.reserved)]
                .map(|(result, count)| (format!("{{result=\"{result}\"}}"), count.load(Ordering::Relaxed)));
        family("lookups", "counter", "Addresses looked up, by what was found", &lookups)?;
        let reloads = [("live", status.reloads), ("refused", status.refusals)]
            .map(|(result, count)| (format!("{{result=\"{result}\"}}"), count));
        family("reloads", "counter", "Candidates of the files by result", &reloads)?;
        let refused = [(String::new(), u64::from(status.refused.is_some()))];
        let help = "1 while what lies on disk is refused and the files before it are used";
        family("refused", "gauge", help, &refused)
    }
}
