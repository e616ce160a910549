//! The key of the environment. It cannot be renewed: a process keeps the environment it began with.

use super::proof::Proof;
use crate::identity::{Failure, Secret};
use crate::teacher::endpoint::Api;

pub(super) fn proof(api: Api, key: Option<&Secret>) -> Result<Proof, Failure> {
    let key = key
        .filter(|key| !key.is_empty())
        .ok_or_else(|| Failure::new("not set"))?;
    Proof::key_for(api, key, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_used_is_said() {
        assert_eq!(
            proof(Api::Azure, None).unwrap_err(),
            Failure::new("not set")
        );
        assert_eq!(
            proof(Api::Azure, Some(&Secret::new(" "))).unwrap_err(),
            Failure::new("not set")
        );
        assert!(proof(Api::Azure, Some(&Secret::new("a\u{7}b"))).is_err());
        assert!(proof(Api::Azure, Some(&Secret::new("k"))).is_ok());
    }
}
