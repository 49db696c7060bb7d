//! What Prometheus reads of rules and lists: written anew at each scrape from what is live, so that a rule that is gone leaves no
//! series behind.

use std::fmt::Write;

use crate::pipeline::service::Service;

/// Rules that have series of their own, in the order of the files; `GET /v1/rules` counts all.
const RULE_SERIES_MAX: usize = 1_000;
/// What ends a text in the OpenMetrics format.
const EOF: &str = "# EOF\n";

impl Service {
    /// Puts the series into a text, before its end mark.
    pub(super) fn append_rules_and_lists(&self, text: &mut String) {
        let has_end = text.ends_with(EOF);
        if has_end {
            text.truncate(text.len() - EOF.len());
        }
        // Writing to a String cannot fail.
        let _ = self
            .write_rules(text)
            .and_then(|()| self.write_lists(text))
            .and_then(|()| self.write_ip(text))
            .and_then(|()| self.write_search(text))
            .and_then(|()| self.write_keys(text))
            .and_then(|()| self.metrics.stages.write(text, self.clock.instant()));
        if has_end {
            text.push_str(EOF);
        }
    }

    fn write_rules(&self, text: &mut String) -> std::fmt::Result {
        let live = self.policies.live();
        let rules = live.policy.rules.rules();
        writeln!(text, "# HELP tollgate_rules Rules of the live policy.\n# TYPE tollgate_rules gauge")?;
        writeln!(text, "tollgate_rules {}", rules.len())?;
        writeln!(
            text,
            "# HELP tollgate_rules_without_series Rules beyond the first {RULE_SERIES_MAX}, which have no series of their own.\n\
             # TYPE tollgate_rules_without_series gauge\n\
             tollgate_rules_without_series {}",
            rules.len().saturating_sub(RULE_SERIES_MAX)
        )?;
        let counts: Vec<_> = rules
            .iter()
            .enumerate()
            .take(RULE_SERIES_MAX)
            .filter_map(|(position, rule)| {
                live.counts.of(position, rule.state).map(|counts| (&rule.id, counts))
            })
            .collect();
        type Number = fn(&crate::pipeline::rule_counts::Counts) -> u64;
        let families: [(&str, &str, Number); 3] = [
            ("hits", "Matches of a live rule, since its counts began", |counts| counts.hits),
            ("decided", "Decisions that the rule made", |counts| counts.decided),
            ("shadow_hits", "Matches of a rule that only watches", |counts| counts.shadow_hits),
        ];
        for (name, help, number) in families {
            writeln!(text, "# HELP tollgate_rule_{name} {help}.\n# TYPE tollgate_rule_{name} counter")?;
            for (rule, counts) in &counts {
                writeln!(text, "tollgate_rule_{name}_total{{rule=\"{rule}\"}} {}", number(counts))?;
            }
        }
        Ok(())
    }

    fn write_lists(&self, text: &mut String) -> std::fmt::Result {
        let status = self.lists_status();
        writeln!(
            text,
            "# HELP tollgate_list_entries Entries of each list, of its file and put there at run time.\n\
             # TYPE tollgate_list_entries gauge"
        )?;
        for list in status.lists.iter().filter(|list| list.in_policy) {
            for (source, entries) in [("file", list.file_entries), ("run_time", list.run_time_entries)] {
                let name = Label(&list.list);
                writeln!(text, "tollgate_list_entries{{list=\"{name}\",source=\"{source}\"}} {entries}")?;
            }
        }
        writeln!(
            text,
            "# HELP tollgate_list_entries_run_time Entries put on lists at run time, over all lists.\n\
             # TYPE tollgate_list_entries_run_time gauge\n\
             tollgate_list_entries_run_time {}",
            status.run_time_entries
        )
    }
}

/// A label's value: the name of a file can be any.
struct Label<'a>(&'a str);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' | '"' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_label() {
        for (name, label) in [("blocked", "blocked"), ("a\"b\\c\nd", "a\\\"b\\\\c\\nd"), ("ö", "ö")] {
            assert_eq!(Label(name).to_string(), label);
        }
    }
}
