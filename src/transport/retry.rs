//! Which requests are sent again, and when.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Request, StatusCode};
use tokio::time::Instant;

use super::error::{Arrival, Failure};
use super::pool::{Answer, Http};
use crate::error::Result;

/// The longest that a server is waited for because it asks for it. What takes longer is for the caller to decide.
const LONGEST: Duration = Duration::from_secs(30);

/// Three more times, after 0.2, 0.4 and 0.8 s, each up to twice as long, so that those who failed together do not come
/// back together.
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(Duration::from_millis(200))
    .with_factor(2.0)
    .with_max_times(3);

/// Whether a request may be sent again. None is whose body cannot be given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Only if it surely has not been done: it has not arrived, or the server says so (503, or 429 with a time).
    Unsent,
    /// Also if it may have arrived, and its answer is lost: done twice it is as done once.
    Idempotent,
    /// Also if somebody on the way has lost the answer: 502 and 504, which mean nothing else there.
    Gateways,
}

impl Repeat {
    fn allows_after(self, failure: &Failure) -> bool {
        match failure.arrival {
            Arrival::Never => true,
            Arrival::Unknown => self != Self::Unsent,
            Arrival::Hopeless => false,
        }
    }

    fn allows_after_answer(self, status: StatusCode, headers: &HeaderMap) -> bool {
        match status {
            // Without a time it is a limit that waiting does not raise.
            StatusCode::TOO_MANY_REQUESTS => retry_after(headers).is_some(),
            StatusCode::SERVICE_UNAVAILABLE => true,
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => self == Self::Gateways,
            _ => false,
        }
    }
}

/// Sends a request until there is an answer to give, which may be one of failure. `until` is when the caller stops
/// waiting: nothing is begun that would come too late.
pub(super) async fn send(
    http: &Http,
    mut request: Request,
    repeat: Repeat,
    whole: bool,
    until: Option<Instant>,
) -> Result<Answer> {
    let mut delays = DELAYS.build();
    loop {
        let again = request.try_clone();
        let outcome = http.attempt(request, whole).await;
        let (wanted, asked) = match &outcome {
            Ok(answer) => {
                (repeat.allows_after_answer(answer.status(), answer.headers()), retry_after(answer.headers()))
            }
            Err(failure) => (repeat.allows_after(failure), None),
        };
        let wait = delays.next().map(|delay| asked.map_or(delay, |asked| asked.max(delay)));
        let in_time = |wait: &Duration| {
            asked.is_none_or(|asked| asked <= LONGEST)
                && until.is_none_or(|until| Instant::now() + *wait < until)
        };
        match (again, wait.filter(in_time)) {
            (Some(again), Some(wait)) if wanted => {
                drop(outcome);
                tracing::debug!(?wait, "sending a request again");
                tokio::time::sleep(wait).await;
                request = again;
            }
            _ => return outcome.map_err(|failure| failure.error),
        }
    }
}

/// How long a server asks to be left alone: `Retry-After`, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?;
    let at = SystemTime::from(Timestamp::from(at));
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a header can hold it"));
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let later = Timestamp::now() + Duration::from_secs(90);
        let date =
            rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).expect("it has a date");
        let wait = asked(&date).expect("it is a date");
        assert!((88..=90).contains(&wait.as_secs()), "{wait:?}");
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(asked(text), None, "{text}");
        }
    }
}
