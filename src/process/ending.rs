//! The end of what is followed: told once, to any number of waiters.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::Exit;

/// How something ended, or why nobody knows.
type Ended = Result<Exit, Arc<Error>>;

/// The end, for those who wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Ending(watch::Receiver<Option<Ended>>);

/// Who tells it.
#[derive(Debug)]
pub(crate) struct Teller(watch::Sender<Option<Ended>>);

impl Ending {
    /// An end that is still to come.
    pub(crate) fn to_come() -> (Teller, Self) {
        let (teller, ending) = watch::channel(None);
        (Teller(teller), Self(ending))
    }

    /// Whether it has been told.
    pub(crate) fn has_come(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for it. Any number of waiters, at any time, get the same answer.
    pub(crate) async fn wait(&self) -> Result<Exit> {
        let mut ending = self.0.clone();
        let ended = ending.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended {
            Some(ended) => ended.map_err(|error| error.copy()),
            None => Err(Error::new(ErrorKind::Unavailable, "the process is no longer watched")),
        }
    }
}

impl Teller {
    /// Tells it.
    pub(crate) fn tell(&self, ended: Result<Exit>) {
        self.0.send_replace(Some(ended.map_err(Arc::new)));
    }

    /// Waits until nobody is left to be told.
    pub(crate) async fn unheard(&self) {
        self.0.closed().await;
    }
}
