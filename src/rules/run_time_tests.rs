//! Entries of lists against a naive map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> EventTime {
    EventTime::from_unix_millis(millis).unwrap()
}

fn change(list: &str, value: &str, action: Action) -> ListChange {
    ListChange { list: list.into(), value: value.into(), action, note: "why".into(), by: "who".into() }
}

fn any_change() -> impl Strategy<Value = (u8, u8, Option<Option<i64>>)> {
    (0_u8..3, 0_u8..12, proptest::option::of(proptest::option::of(0_i64..50)))
}

proptest! {
    #[test]
    fn it_is_the_map_that_the_changes_make(changes in proptest::collection::vec(any_change(), 0..80), now in 0_i64..60) {
        let (mut lists, mut naive) = (RunTimeLists::default(), BTreeMap::new());
        for (sequence, (list, value, add)) in changes.into_iter().enumerate() {
            let (list, value) = (format!("l{list}"), format!("v{value}"));
            let older = lists.clone();
            let before = naive.get(&(list.clone(), value.clone())).copied();
            let action = match add {
                Some(until) => {
                    naive.insert((list.clone(), value.clone()), until);
                    Action::Add { until: until.map(at) }
                }
                None => {
                    naive.remove(&(list.clone(), value.clone()));
                    Action::Remove
                }
            };
            let found = lists.apply(&change(&list, &value, action), sequence as u64, at(7));
            prop_assert_eq!(found.map(|entry| entry.until), before.map(|until| until.map(at)));
            prop_assert_eq!(older.entry(&list, &value).is_some(), before.is_some(), "an older value stays as it was");
        }
        prop_assert_eq!(lists.len(), naive.len());
        let mut all: Vec<_> = lists.iter().map(|(list, value, _)| (list.to_owned(), value.to_owned())).collect();
        all.sort();
        prop_assert_eq!(&all, &naive.keys().cloned().collect::<Vec<_>>());
        for ((list, value), until) in &naive {
            prop_assert_eq!(lists.holds(list, value, at(now)), until.is_none_or(|until| now < until));
        }
        for list in ["l0", "l1", "l2"] {
            let expected: Vec<&str> = naive.keys().filter(|(it, _)| it == list).map(|(_, value)| &**value).collect();
            prop_assert_eq!(lists.len_of(list), expected.len());
            let mut paged = Vec::new();
            loop {
                let page = lists.page(list, paged.last().copied(), 3);
                let values = page.iter().map(|(value, _)| *value);
                paged.extend(values);
                if page.len() < 3 { break }
            }
            prop_assert_eq!(paged, expected, "page by page, in order");
        }
        let over = lists.expired(at(now), usize::MAX);
        lists.remove_expired(&over, at(now));
        naive.retain(|_, until| until.is_none_or(|until| until > now));
        prop_assert_eq!(lists.len(), naive.len());
    }
}

#[test]
fn what_a_record_names_holds_for_ever() {
    let pair = |list: &str, value: &str| Listed { list: list.into(), value: value.into() };
    let lists = RunTimeLists::of(&[pair("a", "1"), pair("a", "2"), pair("b", "1")]);
    assert_eq!(lists.len(), 3);
    for (list, value, stands) in [("a", "1", true), ("a", "2", true), ("b", "1", true), ("b", "2", false)] {
        assert_eq!(lists.holds(list, value, at(253_402_207_200_000)), stands, "{list} {value}");
    }
    assert_eq!(lists.names().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_was_replaced_meanwhile_is_not_swept() {
    let mut lists = RunTimeLists::default();
    lists.apply(&change("a", "1", Action::Add { until: Some(at(5)) }), 1, at(0));
    let over = lists.expired(at(5), 10);
    assert_eq!(over.len(), 1);
    lists.apply(&change("a", "1", Action::Add { until: None }), 2, at(6));
    lists.remove_expired(&over, at(5));
    assert!(lists.holds("a", "1", at(100)));
}

#[test]
fn a_change_among_a_million_leaves_the_older_value_as_it_was() {
    let mut lists = RunTimeLists::default();
    let add = Action::Add { until: None };
    for number in 0..RUN_TIME_ENTRIES_MAX {
        lists.apply(&change("blocked", &format!("card_{number}"), add), number as u64, at(0));
    }
    let mut older = Vec::new();
    for number in 0..1_000 {
        older.push(lists.clone());
        lists.apply(&change("blocked", &format!("card_{}", number * 7), Action::Remove), 0, at(0));
    }
    assert_eq!(lists.len(), RUN_TIME_ENTRIES_MAX - 1_000);
    for (number, older) in older.iter().enumerate() {
        assert_eq!(older.len(), RUN_TIME_ENTRIES_MAX - number);
        assert!(older.holds("blocked", &format!("card_{}", number * 7), at(0)));
    }
}
