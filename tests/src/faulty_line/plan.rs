//! What is to go wrong, and when.

use std::sync::Arc;

use axum::http::{Method, Uri};
use tokio::sync::watch;

/// Something that goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before the service hears of the request.
    LoseRequest,
    /// The service does what it was asked, then the connection is reset.
    LoseAnswer,
    /// The service hears nothing, and this status is answered in its stead.
    Status(u16),
    /// The service hears nothing, and this error of Azure Storage, by status and code, is answered in its stead.
    Refuse(u16, &'static str),
    /// The service does what it was asked, but this status is answered.
    StatusAfter(u16),
    /// The answer ends after so many bytes of its body.
    CutBody(u64),
    /// The service does what it was asked, and the answer has this header, too.
    Header(&'static str, &'static str),
    /// No answer until the caller gives up; the service hears nothing.
    Hang,
}

/// A request that is held back before the service hears of it. Dropping this lets it go.
#[derive(Debug)]
pub struct HeldBack(Arc<Gate>);

impl HeldBack {
    /// Waits until it is there.
    pub async fn arrived(&self) {
        let mut arrived = self.0.arrived.subscribe();
        // The sender lives as long as the gate.
        let _ = arrived.wait_for(|arrived| *arrived).await;
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.0.open.send_replace(true);
    }
}

/// Where a request waits.
#[derive(Debug, Default)]
pub(super) struct Gate {
    arrived: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(super) async fn pass(&self) {
        self.arrived.send_replace(true);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Fault(Fault),
    Hold(Arc<Gate>),
}

/// Picks requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    method: Method,
    path: String,
    query: Option<String>,
    body: String,
    after: usize,
    times: usize,
}

impl When {
    /// The first request of this method whose path, as [`Passed`](super::Passed) has it, ends like this.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: None,
            body: String::new(),
            after: 0,
            times: 1,
        }
    }

    /// The first PUT of this path without `comp` in its query: of a whole blob, not of a part of one.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// The first GET of this path.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Only requests with this in their query. Without that: only those without `comp`.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = Some(query.into());
        self
    }

    /// Only requests with this in their body.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = text.into();
        self
    }

    /// Lets so many through first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    /// Picks so many, one after the other.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    fn fits(&self, method: &Method, uri: &Uri, body: &[u8]) -> bool {
        let query = uri.query().unwrap_or_default();
        let query = match &self.query {
            Some(wanted) => query.contains(wanted),
            None => !query.contains("comp="),
        };
        let path = super::path_of(uri);
        query && *method == self.method && path.ends_with(&self.path) && self.is_in(body)
    }

    fn is_in(&self, body: &[u8]) -> bool {
        let text = self.body.as_bytes();
        text.is_empty() || body.windows(text.len()).any(|part| part == text)
    }
}

/// What is still to happen.
#[derive(Debug, Default)]
pub(super) struct Plan {
    planned: Vec<(Happening, When)>,
    /// What happens to everything.
    always: Option<Fault>,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault, when: When) {
        self.planned.push((Happening::Fault(fault), when));
    }

    pub(super) fn hold(&mut self, when: When) -> HeldBack {
        let gate = Arc::new(Gate::default());
        self.planned
            .push((Happening::Hold(Arc::clone(&gate)), when));
        HeldBack(gate)
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    pub(super) fn always(&mut self, fault: Option<Fault>) {
        self.always = fault;
    }

    pub(super) fn is_through(&self) -> bool {
        self.planned.iter().all(|(_, when)| when.times == 0)
    }

    /// What happens to this request.
    pub(super) fn next(&mut self, method: &Method, uri: &Uri, body: &[u8]) -> Option<Happening> {
        if let Some(fault) = self.always {
            return Some(Happening::Fault(fault));
        }
        for (happening, when) in &mut self.planned {
            if when.times == 0 || !when.fits(method, uri, body) {
                continue;
            }
            if when.after > 0 {
                when.after -= 1;
                continue;
            }
            when.times -= 1;
            return Some(happening.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_hits_what_it_picks_and_no_more() {
        let mut plan = Plan::default();
        let when = When::put("/c/a/b").after(1).times(2);
        plan.add(Fault::LoseAnswer, when);
        plan.add(Fault::Status(503), When::put("b").query("comp=block"));
        let mut next = |method, uri: &str| match plan.next(&method, &uri.parse().unwrap(), b"") {
            Some(Happening::Fault(fault)) => Some(fault),
            _ => None,
        };
        assert_eq!(next(Method::GET, "/c/a/b"), None);
        let mut put = |uri: &str| next(Method::PUT, uri);
        assert_eq!(put("/x/c/a%2Fb"), None);
        assert_eq!(put("/x/c/a%2Fb"), Some(Fault::LoseAnswer));
        assert_eq!(put("/x/c/other"), None);
        assert_eq!(put("/x/c/a%2Fb?comp=block&x"), Some(Fault::Status(503)));
        assert_eq!(put("/x/c/a/b?timeout=3"), Some(Fault::LoseAnswer));
        assert_eq!(put("/x/c/a/b"), None);
        assert!(plan.is_through());
    }

    #[test]
    fn a_plan_may_be_about_what_a_body_holds() {
        let mut plan = Plan::default();
        plan.add(Fault::LoseAnswer, When::put("/a").body("b c"));
        let uri = "/a".parse().unwrap();
        let mut hits = |body: &[u8]| plan.next(&Method::PUT, &uri, body).is_some();
        assert_eq!(
            [hits(b""), hits(b"b"), hits(b"a b c")],
            [false, false, true]
        );
    }

    #[test]
    fn while_everything_fails_nothing_planned_happens() {
        let mut plan = Plan::default();
        plan.add(Fault::LoseAnswer, When::put("/a"));
        plan.always(Some(Fault::Status(503)));
        let next = |plan: &mut Plan| match plan.next(&Method::PUT, &"/a".parse().unwrap(), b"") {
            Some(Happening::Fault(fault)) => Some(fault),
            _ => None,
        };
        assert_eq!(next(&mut plan), Some(Fault::Status(503)));
        plan.always(None);
        assert_eq!(next(&mut plan), Some(Fault::LoseAnswer));
        assert_eq!(next(&mut plan), None);
    }
}
