//! Answers that GitHub gave with an `ETag`, kept to ask only whether they still hold.
//!
//! Nothing is answered from here without GitHub having said "not modified" for this very question: a fact is never older
//! than the call. Bounded for each installation, so that one cannot push another's out, and keyed by installation, so
//! that nothing crosses. Holds no token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ETAG, HeaderMap, LINK};
use http::{HeaderValue, StatusCode};

use super::call::{Answer, has_next};
use crate::domain::ids::InstallationId;

/// Answers that are kept for an installation.
const ANSWERS: usize = 256;
/// Bytes that are kept for an installation.
const BYTES: usize = 4 << 20;
/// A larger answer is not kept.
const LARGEST: usize = 256 << 10;
/// Installations for which something is kept.
const INSTALLATIONS: usize = 100;

/// An answer that may still hold.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) etag: HeaderValue,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// The answer, after GitHub said in `fresh` that it still holds.
    pub(super) fn confirmed(&self, fresh: &Answer) -> Answer {
        let mut headers = self.headers.clone();
        // The ETag may speak of the body alone: that there is a next page can be new, that there was one is certain.
        let link = fresh.headers.get(LINK).or_else(|| headers.get(LINK).filter(|_| has_next(&headers) == Some(true)));
        match link.cloned() {
            Some(link) => drop(headers.insert(LINK, link)),
            None => drop(headers.remove(LINK)),
        }
        fresh.with(StatusCode::OK, headers, self.body.clone())
    }
}

/// What is kept.
#[derive(Default)]
pub(super) struct AnswerCache(Mutex<Shelves>);

#[derive(Default)]
struct Shelves {
    shelves: HashMap<InstallationId, Shelf>,
    clock: u64,
}

#[derive(Default)]
struct Shelf {
    kept: HashMap<String, (Arc<Kept>, u64)>,
    bytes: usize,
    used: u64,
}

impl AnswerCache {
    /// What was answered to this question last, if it is kept. `question` names everything that was asked.
    pub(super) fn find(&self, installation: InstallationId, question: &str) -> Option<Arc<Kept>> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.clock += 1;
        let clock = shelves.clock;
        let shelf = shelves.shelves.get_mut(&installation)?;
        shelf.used = clock;
        let (kept, used) = shelf.kept.get_mut(question)?;
        *used = clock;
        Some(kept.clone())
    }

    /// Keeps an answer, in the place of the one before. One without an `ETag` takes its place too.
    pub(super) fn keep(&self, installation: InstallationId, question: String, answer: &Answer) {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.clock += 1;
        let clock = shelves.clock;
        if !shelves.shelves.contains_key(&installation) && shelves.shelves.len() >= INSTALLATIONS {
            let oldest = shelves.shelves.iter().min_by_key(|(_, shelf)| shelf.used).map(|(id, _)| *id);
            oldest.and_then(|oldest| shelves.shelves.remove(&oldest));
        }
        let shelf = shelves.shelves.entry(installation).or_default();
        shelf.used = clock;
        shelf.remove(&question);
        let Some(etag) = answer.headers.get(ETAG).filter(|_| answer.body.len() <= LARGEST) else { return };
        let headers = answer.headers.get(LINK).map(|link| (LINK, link.clone())).into_iter().collect();
        let kept = Kept { etag: etag.clone(), headers, body: answer.body.clone() };
        shelf.bytes += kept.body.len();
        shelf.kept.insert(question, (Arc::new(kept), clock));
        while shelf.kept.len() > ANSWERS || shelf.bytes > BYTES {
            let oldest = shelf.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(question, _)| question.clone());
            match oldest {
                Some(oldest) => shelf.remove(&oldest),
                None => break,
            }
        }
    }
}

impl Shelf {
    fn remove(&mut self, question: &str) {
        if let Some((kept, _)) = self.kept.remove(question) {
            self.bytes -= kept.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: InstallationId = InstallationId(1);

    fn answer(etag: Option<&str>, link: Option<&str>, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ETAG, etag), (LINK, link)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().expect("a header"));
            }
        }
        Answer::new("GET /x".to_owned(), StatusCode::OK, headers, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn keep(cache: &AnswerCache, installation: InstallationId, question: &str, body: &str) {
        cache.keep(installation, question.to_owned(), &answer(Some("\"e\""), None, body));
    }

    #[test]
    fn nothing_crosses_installations() {
        let cache = AnswerCache::default();
        keep(&cache, ONE, "q", "secret");
        assert!(cache.find(InstallationId(2), "q").is_none());
        assert_eq!(cache.find(ONE, "q").expect("kept").body, "secret");
        assert!(cache.find(ONE, "other").is_none());
    }

    #[test]
    fn an_answer_without_an_etag_takes_the_place_of_one_with() {
        let cache = AnswerCache::default();
        keep(&cache, ONE, "q", "old");
        cache.keep(ONE, "q".to_owned(), &answer(None, None, "new"));
        assert!(cache.find(ONE, "q").is_none());
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let cache = AnswerCache::default();
        for n in 0..2 * ANSWERS {
            keep(&cache, ONE, &n.to_string(), "x");
            assert!(cache.find(ONE, "0").is_some(), "what is used stays");
        }
        assert!(cache.find(ONE, "1").is_none(), "what was not used goes");
        let large = "x".repeat(LARGEST);
        for n in 0..40 {
            keep(&cache, ONE, &n.to_string(), &large);
        }
        keep(&cache, ONE, "too large", &format!("{large}x"));
        assert!(cache.find(ONE, "too large").is_none());
        for n in 0..2 * INSTALLATIONS {
            keep(&cache, InstallationId(n as i64), "q", "x");
        }
        let shelves = cache.0.lock().expect("nothing panicked");
        assert!(shelves.shelves.len() <= INSTALLATIONS);
        for shelf in shelves.shelves.values() {
            assert!(shelf.kept.len() <= ANSWERS && shelf.bytes <= BYTES);
            assert_eq!(shelf.bytes, shelf.kept.values().map(|(kept, _)| kept.body.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_confirmed_page_is_never_taken_for_the_last_one() {
        let cache = AnswerCache::default();
        let next = "<https://x.example/?page=2>; rel=\"next\"";
        let last = "<https://x.example/?page=1>; rel=\"prev\"";
        let confirmed = |kept: Option<&str>, fresh: Option<&str>| {
            cache.keep(ONE, "q".to_owned(), &answer(Some("\"e\""), kept, "[]"));
            let fresh = answer(Some("\"e\""), fresh, "");
            has_next(&cache.find(ONE, "q").expect("kept").confirmed(&fresh).headers)
        };
        assert_eq!(confirmed(Some(next), None), Some(true));
        assert_eq!(confirmed(Some(last), None), None, "another page may have been added");
        assert_eq!(confirmed(None, None), None);
        assert_eq!(confirmed(Some(last), Some(next)), Some(true));
        assert_eq!(confirmed(Some(next), Some(last)), Some(false));
    }
}
