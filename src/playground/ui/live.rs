//! Tells open pages that something changed. Says only that, never what: the page reads itself again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;

use super::Ui;

/// How often it looks; a page is not told more often than that.
const LOOK: Duration = Duration::from_millis(300);

/// Server-sent events without content.
pub(super) async fn stream(State(ui): State<Ui>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seen = ui.versions();
    let events = futures::stream::unfold((ui, seen), async |(ui, seen)| {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = ui.versions();
            if now != seen {
                return Some((Ok(Event::default().data("changed")), (ui, now)));
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl Ui {
    /// Numbers that grow with every change of what the pages show.
    fn versions(&self) -> [u64; 4] {
        // What people do leaves no call, but something in a timeline.
        let happened = self.github.read(|state| {
            let issues = state.repositories.values().flat_map(|repository| repository.issues.values());
            issues.map(|issue| issue.timeline.len() as u64).sum()
        });
        [happened, self.github.calls().version(), self.render.version(), self.render.log().version()]
    }
}
