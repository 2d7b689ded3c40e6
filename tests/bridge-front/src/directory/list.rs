//! One page of a list, cut as RFC 7644 counts or as a habit has it.

use std::str;

use axum::response::Response;
use serde_json::{Value, json};

use super::{
    Context,
    dice::Dice,
    habits::{BeyondEnd, EmptyList, FilterUse, Index, ItemsPerPage, Order, Total},
    refusal::Refusal,
};
use crate::answer::{self, SCIM_JSON};

/// What a list was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    start: Option<i64>,
    count: Option<i64>,
    pub(super) filter: Option<String>,
}

impl Query {
    /// Reads a query. Other parameters are ignored, as 1Password ignores `sortBy` (recorded).
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        let number = |value: &str| {
            let wrong = |_| Refusal::bad("invalidValue", "startIndex and count are whole numbers");
            value.parse().map(Some).map_err(wrong)
        };
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "startIndex" => parsed.start = number(value)?,
                "count" => parsed.count = number(value)?,
                "filter" => parsed.filter = Some(decoded(value)),
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// The filter that applies.
    pub(super) fn filter(&self, filter_use: FilterUse) -> Result<Option<&str>, Refusal> {
        match (filter_use, &self.filter) {
            (_, None) | (FilterUse::Ignored, _) => Ok(None),
            (FilterUse::Supported, Some(filter)) => Ok(Some(filter)),
            (FilterUse::Refused, Some(_)) => {
                Err(Refusal::bad("invalidFilter", "filters are refused on demand"))
            }
        }
    }
}

/// A value of a query in clear.
pub(super) fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.split_at_checked(2)).flatten();
        let hex = escaped.and_then(|(hex, behind)| {
            let byte = u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok()?;
            Some((byte, behind))
        });
        let (byte, behind) = hex.unwrap_or((if *first == b'+' { b' ' } else { *first }, behind));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The entries of a page, and its numbers.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    start: i64,
    count: usize,
    total: usize,
    /// How many entries an endless list has to make up.
    pub(super) invented: usize,
}

/// Cuts a page out of everything that the query is about.
pub(super) fn page<T: Clone>(
    mut all: Vec<T>,
    query: &Query,
    context: &Context<'_>,
    answers: u64,
    dice: &mut Dice,
) -> Page<T> {
    let lists = context.lists;
    let exist = all.len();
    all.truncate(lists.ends_at.map_or(exist, |end| end as usize));
    if lists.order == Order::AcrossPages {
        dice.shuffle(&mut all);
    }
    let asked = query.count.filter(|_| !context.ignores_count);
    let count = asked.map_or(all.len(), |count| {
        usize::try_from(count.max(0)).unwrap_or(usize::MAX)
    });
    let size = count.min(lists.page_limit.map_or(usize::MAX, |limit| limit as usize));

    let start = query.start.unwrap_or(1);
    let first = match lists.index {
        Index::FromOne => start.max(1) - 1,
        Index::FromZero => start.max(0),
        Index::Ignored => 0,
    };
    let mut first = usize::try_from(first)
        .unwrap_or(usize::MAX)
        .saturating_sub(lists.overlap as usize);
    if first >= all.len() && lists.beyond_end == BeyondEnd::LastPage {
        first = all.len().saturating_sub(size);
    }
    let mut entries: Vec<T> = all.iter().skip(first).take(size).cloned().collect();
    match lists.order {
        Order::WithinPage | Order::AcrossPages => dice.shuffle(&mut entries),
        Order::Stable => {}
    }
    let invented = if lists.endless {
        size.saturating_sub(entries.len())
    } else {
        0
    };
    dice.lose(&mut entries, lists.missing);
    let doubled: Vec<T> = entries.iter().take(lists.doubled as usize).cloned().collect();
    entries.extend(doubled);

    let beyond = first.saturating_add(size).saturating_add(size);
    let listed = if lists.endless {
        beyond.max(all.len())
    } else {
        all.len()
    };
    let total = match lists.total {
        Total::Listed => listed,
        Total::Everything => exist,
        Total::PageSize => entries.len() + invented,
        Total::Changing => listed + usize::try_from(answers % 3).unwrap_or_default(),
        Total::OffBy { by } => listed.saturating_add_signed(by as isize),
    };
    Page {
        entries,
        start: start.max(1),
        count,
        total,
        invented,
    }
}

impl<T> Page<T> {
    /// The answer with these resources.
    pub(super) fn response(&self, resources: Vec<Value>, context: &Context<'_>) -> Response {
        let lists = context.lists;
        let per_page = match lists.items_per_page {
            ItemsPerPage::Actual => resources.len(),
            ItemsPerPage::Asked => self.count,
        };
        let mut document = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": self.total,
            "startIndex": self.start,
            "itemsPerPage": per_page,
        });
        let resources = match lists.empty {
            EmptyList::Absent if resources.is_empty() => None,
            EmptyList::Null if resources.is_empty() => Some(Value::Null),
            EmptyList::Array | EmptyList::Absent | EmptyList::Null => Some(Value::Array(resources)),
        };
        if let (Some(document), Some(resources)) = (document.as_object_mut(), resources) {
            document.insert("Resources".to_owned(), resources);
        }
        answer::json(SCIM_JSON, &context.sent(document))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Query, decoded, page};
    use crate::{
        directory::{
            Context,
            dice::Dice,
            habits::{Habits, Lists, Order},
        },
        state::Flavour,
    };

    fn cut(lists: Lists, query: &str) -> (String, usize) {
        let habits = Habits {
            lists,
            ..Habits::default()
        };
        let context = Context::new(Flavour::Hosted, &habits, false);
        let query = Query::parse(query).unwrap();
        let page = page(vec![1, 2, 3, 4, 5], &query, &context, 1, &mut Dice::new(3));
        let entries = page.entries.iter().map(ToString::to_string).collect::<String>();
        (entries, page.total)
    }

    #[test]
    fn pages_are_cut_as_the_standard_counts_or_as_a_habit_has_it() {
        let cases = [
            (json!({}), "", "12345", 5),
            (json!({}), "startIndex=2&count=2", "23", 5),
            (json!({}), "startIndex=-7&count=2", "12", 5),
            (json!({}), "startIndex=6&count=2", "", 5),
            (json!({}), "startIndex=9223372036854775807&count=2", "", 5),
            (json!({}), "count=0", "", 5),
            (json!({}), "count=-1", "", 5),
            (json!({"pageLimit": 2}), "count=4", "12", 5),
            (
                json!({"missing": {"kind": "last", "count": 1}}),
                "count=3",
                "12",
                5,
            ),
            (
                json!({"missing": {"kind": "random", "percent": 100}}),
                "count=3",
                "",
                5,
            ),
            (json!({"doubled": 2}), "count=3", "12312", 5),
            (json!({"overlap": 1}), "startIndex=3&count=2", "23", 5),
            (json!({"index": "from-zero"}), "startIndex=1&count=2", "23", 5),
            (json!({"index": "ignored"}), "startIndex=4&count=2", "12", 5),
            (json!({"beyondEnd": "last-page"}), "startIndex=6&count=2", "45", 5),
            (json!({"endsAt": 3}), "", "123", 3),
            (
                json!({"endsAt": 3, "total": {"kind": "everything"}}),
                "",
                "123",
                5,
            ),
            (json!({"endsAt": 0}), "", "", 0),
            (json!({"total": {"kind": "page-size"}}), "count=2", "12", 2),
            (json!({"total": {"kind": "off-by", "by": -1}}), "count=2", "12", 4),
            (json!({"total": {"kind": "changing"}}), "count=2", "12", 6),
        ];
        for (habits, query, entries, total) in cases {
            let mut lists: Lists = serde_json::from_value(habits.clone()).unwrap();
            lists.order = Order::Stable;
            let expected = (entries.to_owned(), total);
            assert_eq!(cut(lists, query), expected, "{query} {habits}");
        }
    }

    #[test]
    fn pages_of_an_unstable_order_keep_their_entries_unless_told_otherwise() {
        let sorted = |order, start| {
            let lists = Lists {
                order,
                ..Lists::default()
            };
            let (entries, _) = cut(lists, &format!("startIndex={start}&count=3"));
            let mut entries: Vec<_> = entries.chars().collect();
            entries.sort_unstable();
            entries.into_iter().collect::<String>()
        };
        assert_eq!(
            (sorted(Order::WithinPage, 1), sorted(Order::WithinPage, 4)),
            ("123".into(), "45".into())
        );
        assert_ne!(sorted(Order::AcrossPages, 1), "123");
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(
            decoded("userName+eq+%22a%2Bb%40c%22%c3%a9"),
            "userName eq \"a+b@c\"é"
        );
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert!(Query::parse("count=x").is_err());
    }
}
