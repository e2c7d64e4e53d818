//! Lists of sandboxes, whole and page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use http::StatusCode;
use jiff::Timestamp;

use super::sandboxes::listed;
use super::{Outcome, Refusal};
use crate::answer::{json, with};
use crate::request::{Asked, Query, unescaped};
use crate::sandbox::{Sandbox, State};
use crate::world::World;

/// The most on one page, and what is on one unless the caller says otherwise.
const PAGE: usize = 100;

/// The older list: what runs, and no pages.
pub(super) fn running(world: &World, asked: &Asked) -> Outcome {
    let wanted = metadata(asked.query.get("metadata").unwrap_or_default())
        .map_err(|why| Refusal::bad(format!("Error parsing metadata: {why}")))?;
    let mut found: Vec<_> = world.all().into_iter().filter(|one| one.state() == State::Running).collect();
    found.retain(|one| has(one, &wanted));
    found.sort_by_key(|one| std::cmp::Reverse(one.started_at()));
    let found: Vec<_> = found.iter().map(|one| listed(world, one)).collect();
    Ok(json(StatusCode::OK, &found))
}

pub(super) fn page(world: &World, asked: &Asked) -> Outcome {
    let query = &asked.query;
    let ascending = match query.get("order") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(other) => {
            return Err(Refusal::bad(format!("Invalid order parameter: unknown order \"{other}\"")));
        }
    };
    let page = Page::of(query, ascending)?;
    let states = query.list("state");
    if let Some(other) = states.iter().find(|state| !["running", "paused"].contains(state)) {
        return Err(Refusal::bad(format!("validation error: unknown state \"{other}\"")));
    }
    let wanted = metadata(query.get("metadata").unwrap_or_default())
        .map_err(|_| Refusal::bad("Error parsing metadata"))?;
    let after = query.get("startedAfter").map(str::parse::<Timestamp>).transpose();
    let after = after.map_err(|_| Refusal::bad("validation error: startedAfter is no date"))?;
    let mut found = world.all();
    found.retain(|one| {
        let state = if one.state() == State::Running { "running" } else { "paused" };
        let template = query.get("template").is_none_or(|template| template == one.wishes.template);
        (states.is_empty() || states.contains(&state))
            && template
            && after.is_none_or(|after| one.started_at() >= after)
            && has(one, &wanted)
    });
    let running = found.iter().filter(|one| one.state() == State::Running).count();
    let (found, next) = page.choose(found, |one| (one.started_at(), one.id.clone()));
    let found: Vec<_> = found.iter().map(|one| listed(world, one)).collect();
    let mut answer = json(StatusCode::OK, &found);
    if states.is_empty() || states.contains(&"running") {
        answer = with(answer, "x-total-running", &running.to_string());
    }
    Ok(match next {
        Some(next) => with(answer, "x-next-token", &next),
        None => answer,
    })
}

/// The part of a list that is asked for.
#[derive(Debug)]
pub(super) struct Page {
    limit: usize,
    ascending: bool,
    after: Option<(Timestamp, String)>,
}

impl Page {
    pub(super) fn of(query: &Query, ascending: bool) -> Result<Self, Refusal> {
        let limit = match query.get("limit").map(str::parse::<usize>) {
            None => PAGE,
            Some(Ok(limit)) if (1..=PAGE).contains(&limit) => limit,
            Some(_) => return Err(Refusal::bad("validation error: limit must be from 1 to 100")),
        };
        let token = query.get("nextToken").filter(|token| !token.is_empty());
        let after = token.map(|token| cursor(token, ascending)).transpose()?;
        Ok(Self { limit, ascending, after })
    }

    /// What is on it, and the token of the next.
    pub(super) fn choose<T>(
        &self,
        mut all: Vec<T>,
        key: impl Fn(&T) -> (Timestamp, String),
    ) -> (Vec<T>, Option<String>) {
        all.sort_by_key(|one| key(one));
        if !self.ascending {
            all.reverse();
        }
        if let Some(after) = &self.after {
            all.retain(|one| if self.ascending { key(one) > *after } else { key(one) < *after });
        }
        let more = all.len() > self.limit;
        all.truncate(self.limit);
        let next = all.last().filter(|_| more).map(|last| {
            let (time, id) = key(last);
            let direction = if self.ascending { "__asc" } else { "" };
            URL_SAFE.encode(format!("{time}__{id}{direction}"))
        });
        (all, next)
    }
}

fn cursor(token: &str, ascending: bool) -> Result<(Timestamp, String), Refusal> {
    let read = || {
        let text = String::from_utf8(URL_SAFE.decode(token).ok()?).ok()?;
        let (time, rest) = text.split_once("__")?;
        let (id, direction) = match rest.split_once("__") {
            Some((id, "asc")) => (id, true),
            Some(_) => return None,
            None => (rest, false),
        };
        (direction == ascending).then_some((time.parse().ok()?, id.to_owned()))
    };
    read().ok_or_else(|| Refusal::bad("Invalid next token"))
}

fn has(sandbox: &Arc<Sandbox>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| sandbox.wishes.metadata.get(key) == Some(value))
}

/// Reads a filter. The query was decoded once already; then the whole is, and then each name and value.
fn metadata(text: &str) -> Result<BTreeMap<String, String>, String> {
    let text = unescaped(text);
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("no value: {pair}"))?;
            Ok((unescaped(name), unescaped(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_decoded_three_times() {
        let query = Query::of(Some("metadata=a%252520b%3Dc%252526d%26k%3Dv"));
        let found = metadata(query.get("metadata").unwrap()).unwrap();
        let expected = [("a b", "c&d"), ("k", "v")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found, expected.into());
    }

    #[test]
    fn pages_follow_each_other_in_both_orders() {
        let all: Vec<_> = (0..5).map(|n| (Timestamp::from_second(n / 2).unwrap(), format!("i{n}"))).collect();
        for (order, expected) in [(false, "i4 i3|i2 i1|i0"), (true, "i0 i1|i2 i3|i4")] {
            let mut token = None;
            let mut pages = Vec::new();
            loop {
                let query =
                    token.map_or_else(|| "limit=2".to_owned(), |token| format!("limit=2&nextToken={token}"));
                let page = Page::of(&Query::of(Some(&query)), order).unwrap();
                let (found, next) = page.choose(all.clone(), Clone::clone);
                pages.push(found.into_iter().map(|(_, id)| id).collect::<Vec<_>>().join(" "));
                token = next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(pages.join("|"), expected);
        }
    }

    #[test]
    fn a_token_fits_the_order_that_it_is_of() {
        let page = Page { limit: 1, ascending: true, after: None };
        let all = vec![(Timestamp::UNIX_EPOCH, "a".to_owned()), (Timestamp::UNIX_EPOCH, "b".to_owned())];
        let (_, token) = page.choose(all, Clone::clone);
        let query = Query::of(Some(&format!("nextToken={}", token.unwrap())));
        assert!(Page::of(&query, true).is_ok());
        assert!(Page::of(&query, false).is_err());
    }
}
