//! How requests are spread over connections.
//!
//! A client of `reqwest` puts all requests to one HTTP/2 server on one connection, and such a connection carries only so
//! many at once; the rest would wait in line behind commands that run for hours. So there are several clients, side by
//! side, and a request takes the first that has room: its lane.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests at once on one connection. E2B takes 100.
const STREAMS: usize = 90;
/// How long an unused connection is kept: shorter than any server keeps it.
pub(super) const IDLE: Duration = Duration::from_secs(90);
/// How long others wait for the first request on a new lane, so that they share its connection instead of opening one
/// each.
const FIRST: Duration = Duration::from_millis(200);
/// Servers that are remembered although nobody talks to them.
const REMEMBERED: usize = 64;

/// The lanes to each server.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<String, Vec<Lane>>>);

#[derive(Debug, Default)]
struct Lane {
    streams: usize,
    /// When an answer last came over it.
    answered: Option<Instant>,
    /// A request is about to open its connection.
    opening: Option<Arc<Notify>>,
}

impl Lane {
    fn is_open(&self) -> bool {
        self.answered.is_some_and(|at| at.elapsed() < IDLE)
    }
}

/// The place of a request on a lane, from before it is sent until its answer has been read or is given up.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Arc<Lanes>,
    server: String,
    number: usize,
    opens: Option<Arc<Notify>>,
}

impl Lanes {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on the way to a server.
    pub(super) async fn take(self: &Arc<Self>, url: &Url) -> Place {
        let (place, others) = self.enter(url);
        if let Some(others) = others {
            let _ = tokio::time::timeout(FIRST, others.notified()).await;
        }
        place
    }

    /// Likewise; with whom to wait for.
    fn enter(self: &Arc<Self>, url: &Url) -> (Place, Option<Arc<Notify>>) {
        let server = url.origin().ascii_serialization();
        // Without TLS there is no HTTP/2, so no connection to share.
        let shares = url.scheme() == "https";
        let mut all = self.all();
        let lanes = all.entry(server.clone()).or_default();
        let number = lanes.iter().position(|lane| lane.streams < STREAMS).unwrap_or(lanes.len());
        if number == lanes.len() {
            lanes.push(Lane::default());
        }
        let lane = &mut lanes[number];
        lane.streams += 1;
        let others = if shares && !lane.is_open() { lane.opening.clone() } else { None };
        let opens = (shares && !lane.is_open() && others.is_none()).then(|| {
            let opening = Arc::new(Notify::new());
            lane.opening = Some(Arc::clone(&opening));
            opening
        });
        drop(all);
        (Place { lanes: Arc::clone(self), server, number, opens }, others)
    }
}

impl Place {
    /// Which lane it is on, from 0.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Notes that an answer has come.
    pub(super) fn answered(&mut self) {
        let opens = self.opens.take();
        self.with_lane(|lane| {
            lane.answered = Some(Instant::now());
            if opens.is_some() {
                lane.opening = None;
            }
        });
        if let Some(opens) = opens {
            opens.notify_waiters();
        }
    }

    /// Notes that its connection is lost, as far as anybody knows: the next request opens another, and others wait for it.
    pub(super) fn failed(&self) {
        self.with_lane(|lane| lane.answered = None);
    }

    fn with_lane(&self, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) =
            self.lanes.all().get_mut(&self.server).and_then(|lanes| lanes.get_mut(self.number))
        {
            change(lane);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let opens = self.opens.take();
        self.with_lane(|lane| {
            lane.streams -= 1;
            if opens.is_some() {
                lane.opening = None;
            }
        });
        if let Some(opens) = opens {
            opens.notify_waiters();
        }
        let mut all = self.lanes.all();
        if all.len() > REMEMBERED {
            all.retain(|_, lanes| lanes.iter().any(|lane| lane.streams > 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("it is one")
    }

    #[tokio::test]
    async fn a_full_connection_is_followed_by_another() {
        let lanes = Arc::new(Lanes::default());
        let server = url("http://a.example/x");
        let mut places = Vec::new();
        for _ in 0..2 * STREAMS {
            places.push(lanes.take(&server).await);
        }
        let on = |number| places.iter().filter(|place| place.number() == number).count();
        assert_eq!((on(0), on(1)), (STREAMS, STREAMS));
        assert_eq!(lanes.take(&url("http://b.example/")).await.number(), 0);
        places.swap_remove(3);
        assert_eq!(lanes.take(&url("http://a.example/y")).await.number(), 0);
    }

    #[tokio::test]
    async fn others_wait_for_the_first_to_open_a_connection() {
        let lanes = Arc::new(Lanes::default());
        let server = url("https://a.example/");
        let mut first = lanes.take(&server).await;
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let (lanes, server) = (Arc::clone(&lanes), server.clone());
            async move { lanes.take(&server).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        first.answered();
        assert_eq!(waiting.await.expect("it waits").number(), 0);
        lanes.take(&server).await;
        assert!(begun.elapsed() < FIRST, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_first_that_takes_its_time_is_not_waited_for() {
        let lanes = Arc::new(Lanes::default());
        let server = url("https://a.example/");
        let first = lanes.take(&server).await;
        let begun = Instant::now();
        let second = lanes.take(&server).await;
        assert!(begun.elapsed() >= FIRST);
        drop((first, second));
        let begun = Instant::now();
        lanes.take(&server).await;
        assert!(begun.elapsed() < FIRST, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn servers_that_nobody_talks_to_are_forgotten() {
        let lanes = Arc::new(Lanes::default());
        for number in 0..3 * REMEMBERED {
            drop(lanes.take(&url(&format!("http://{number}.example/"))).await);
        }
        assert!(lanes.all().len() <= REMEMBERED + 1);
    }
}
