//! By how much places differ in what all of them have.

use std::time::Duration;

use computesdk::provider::{CreateRequest, Resources};

use crate::harness::At;

/// What is measured.
pub(super) struct Measures {
    /// Times to live are whole multiples of this.
    pub(super) tick: Duration,
    /// How long a command may have ended unnoticed, if somebody else holds its output.
    pub(super) unnoticed: Duration,
    /// Bytes of output that may be on their way, read by nobody yet and no longer in the sandbox.
    pub(super) on_the_way: usize,
    /// Bytes of a file that may have been read before they were asked for.
    pub(super) read_ahead: usize,
    /// How long it may take until what was being made is unmade, once nobody wants it.
    pub(super) unmade: Duration,
    /// What a URL begins with unless the caller says otherwise.
    pub(super) scheme: &'static str,
}

const LOCAL: Measures = Measures {
    tick: Duration::ZERO,
    unnoticed: Duration::ZERO,
    on_the_way: 0,
    read_ahead: 0,
    unmade: Duration::ZERO,
    scheme: "http",
};

const E2B: Measures = Measures {
    tick: Duration::from_secs(1),
    unnoticed: Duration::from_secs(3),
    on_the_way: 16 << 20,
    read_ahead: 24 << 20,
    unmade: Duration::from_secs(15),
    scheme: "https",
};

const DOCKER: Measures =
    Measures { on_the_way: 512 << 10, read_ahead: 512 << 10, unmade: Duration::from_secs(5), ..LOCAL };

/// Those of a provider.
fn of(provider: &str) -> &'static Measures {
    match provider {
        "e2b" => &E2B,
        "docker" => &DOCKER,
        _ => &LOCAL,
    }
}

impl At {
    pub(super) fn measures(&self) -> &'static Measures {
        of(self.0.name())
    }

    /// A sandbox that has room for this many MiB of files.
    pub(super) fn small(&self, mib: u64) -> CreateRequest {
        match self.lacks("sizes") {
            None => {
                let resources = Resources { disk: Some(mib << 20), ..Resources::default() };
                CreateRequest { resources, ..CreateRequest::default() }
            }
            Some(_) => CreateRequest { template_id: Some(format!("disk-{mib}")), ..CreateRequest::default() },
        }
    }
}
