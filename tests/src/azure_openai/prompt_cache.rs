//! Which part of a prompt counts as cached: prefixes of 1,024 tokens and more that were seen before, in
//! steps of 128.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3;

use super::request::ChatRequest;

const STEP_TOKENS: u64 = 128;
const FIRST_TOKENS: u64 = 1_024;
const BYTES_PER_TOKEN: usize = 4;
/// Prefixes beyond this many steps are not followed.
const LONGEST_STEPS: usize = 64;
/// Prefixes remembered before all are forgotten, which stands for eviction.
const CAPACITY: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct PromptCache {
    seen: Mutex<HashSet<u64>>,
}

impl PromptCache {
    /// Tokens of this prompt that earlier prompts of the deployment began with as well.
    pub(super) fn cached_tokens(&self, deployment: &str, request: &ChatRequest<'_>) -> u64 {
        let prompt_tokens = request.prompt_tokens();
        if prompt_tokens < FIRST_TOKENS {
            return 0;
        }
        let prefixes = prefixes(deployment, request);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = prefixes
            .iter()
            .take_while(|prefix| seen.contains(prefix))
            .count() as u64;
        if seen.len() + prefixes.len() > CAPACITY {
            seen.clear();
        }
        seen.extend(prefixes);
        match known {
            0 => 0,
            n => (FIRST_TOKENS + (n - 1) * STEP_TOKENS).min(prompt_tokens),
        }
    }
}

/// Hashes of the prompt's beginnings, from 1,024 tokens on in steps of 128.
fn prefixes(deployment: &str, request: &ChatRequest<'_>) -> Vec<u64> {
    let step = STEP_TOKENS as usize * BYTES_PER_TOKEN;
    let first = FIRST_TOKENS as usize * BYTES_PER_TOKEN;
    let mut hasher = Xxh3::new();
    hasher.update(deployment.as_bytes());
    let mut prefixes = Vec::new();
    let mut hashed = 0;
    for message in &request.messages {
        let mut rest = message.text.as_bytes();
        while !rest.is_empty() && prefixes.len() < LONGEST_STEPS {
            let (head, tail) = rest.split_at(rest.len().min(step - hashed % step));
            hasher.update(head);
            hashed += head.len();
            rest = tail;
            if hashed >= first && hashed % step == 0 {
                prefixes.push(hasher.digest());
            }
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(system: &str, user: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "messages": [
            { "role": "system", "content": system }, { "role": "user", "content": user },
        ]}))
        .unwrap()
    }

    #[test]
    fn a_long_shared_prefix_is_cached_the_second_time() {
        let cache = PromptCache::default();
        let system = "instructions ".repeat(400);
        let cached = |deployment: &str, system: &str, user: &str| {
            let body = body(system, user);
            cache.cached_tokens(deployment, &ChatRequest::parse(&body).unwrap())
        };
        assert_eq!(cached("a", &system, "one"), 0);
        assert_eq!(cached("a", &system, "two"), 1_280);
        assert_eq!(cached("b", &system, "three"), 0);
        assert_eq!(cached("a", "short", "four"), 0);
        assert_eq!(cached("a", &format!("other {system}"), "five"), 0);
    }
}
