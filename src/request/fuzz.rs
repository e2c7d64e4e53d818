//! Requests of clients that may send anything.

use std::sync::Arc;

use super::{Body, Handler, Policy, Request, actions, create};
use crate::compute::Compute;

/// A body, read by the most generous handler that there can be.
pub(crate) fn body(bytes: &[u8]) {
    let mut policy = Policy::default();
    let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    policy.allow_actions(&all(&actions::names().collect::<Vec<_>>())).expect("these are actions");
    policy.allow_create_options(&all(&create::CLIENT_OPTIONS)).expect("these are options");
    let handler = Handler::new(Arc::new(Compute::default()), policy);
    let request = Request { body: Body::Whole(bytes.to_vec().into()), ..Request::default() };
    if let Err(error) = handler.read(&request) {
        // What a client sends may be long; what it is told of it is not.
        assert!(error.message().len() < 4096, "{}", error.message());
    }
}
