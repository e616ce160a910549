//! Which places in containers may be written. Without a [`Guard`] that says so there is no
//! [`OwnFolder`](crate::store::OwnFolder) in a container, and none says so of RAW.

use super::super::StoreError;
use super::connection::decode;
use crate::dataset::layout::LABELED_PREFIX;

/// Characters of the longest name of a blob.
const LONGEST: usize = 1024;

/// A folder in a container; the whole container where the path is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    container: String,
    path: String,
}

impl Area {
    /// The folder `path`, names with `/` between them, of `container`.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if one of the two is not what it should be.
    pub fn new(container: &str, path: &str) -> Result<Self, StoreError> {
        let checked = match path {
            "" => check_container(container),
            path => check_container(container).and_then(|()| check_names(path)),
        };
        checked.map_err(|reason| StoreError::forbidden(format!("{container}/{path}"), reason))?;
        Ok(Self {
            container: container.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The name of the container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The folder's path in the container, with `/`; empty for the whole container.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What `other` is called below this folder; `None` where it is not in it.
    fn below<'a>(&self, other: &'a Self) -> Option<&'a str> {
        if self.container != other.container {
            return None;
        }
        match self.path.as_str() {
            "" => Some(&other.path),
            path => match other.path.strip_prefix(path)? {
                "" => Some(""),
                // A name that only begins alike is another one.
                rest => rest.strip_prefix('/'),
            },
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.below(other).is_some() || other.below(self).is_some()
    }
}

/// Says which places may be written. By itself it allows none.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    bases: Vec<Area>,
    work: Vec<Area>,
    raw: Vec<Area>,
}

impl Guard {
    /// Datasets lie in `base`: those whose name begins with `LABELED_` may be written, all else in it
    /// may not.
    #[must_use]
    pub fn labeled_in(mut self, base: Area) -> Self {
        self.bases.push(base);
        self
    }

    /// `area` is there for work in progress and may be written, unless it overlaps with a place for
    /// datasets.
    #[must_use]
    pub fn work_in(mut self, area: Area) -> Self {
        self.work.push(area);
        self
    }

    /// `raw` may never be written, whatever else is allowed.
    #[must_use]
    pub fn never(mut self, raw: Area) -> Self {
        self.raw.push(raw);
        self
    }

    /// Whether everything in `area` may be written, or why not.
    pub(super) fn check(&self, area: &Area) -> Result<(), &'static str> {
        if self.raw.iter().any(|raw| raw.overlaps(area)) {
            return Err("RAW lies there");
        }
        let labeled = self.bases.iter().any(|base| {
            let name = base.below(area).and_then(|path| path.split('/').next());
            name.and_then(|name| name.strip_prefix(LABELED_PREFIX))
                .is_some_and(|dataset| !dataset.is_empty())
        });
        // Where bases lie in each other, what is labelled for one must not be RAW for another.
        let raw = self.bases.iter().any(|base| {
            base.below(area)
                .is_some_and(|path| !path.starts_with(LABELED_PREFIX))
        });
        let holds_base = self.bases.iter().any(|base| area.below(base).is_some());
        if raw || holds_base {
            return Err("datasets lie there, and softlabel writes only those named LABELED_");
        }
        if labeled || self.work.iter().any(|work| work.below(area).is_some()) {
            return Ok(());
        }
        Err("it is neither a labelled dataset nor the place for work in progress")
    }
}

/// Whether `path` is names that a container can hold, with `/` between them, and stays the same path
/// however often it is percent-decoded on its way.
pub(super) fn check_names(path: &str) -> Result<(), &'static str> {
    let mut path = path.to_owned();
    if path.chars().count() > LONGEST {
        return Err("the path is longer than 1024 characters");
    }
    loop {
        super::super::own::check_path(&path)?;
        if path.contains('\\') {
            return Err("the path has a backslash");
        }
        if path.chars().any(char::is_control) {
            return Err("the path has a control character");
        }
        if path.split('/').any(|name| name.ends_with('.')) {
            return Err("a name in the path ends with a dot");
        }
        match decode(&path) {
            Some(decoded) if decoded == path => return Ok(()),
            Some(decoded) => path = decoded,
            None => return Err("the path encodes something that is not UTF-8"),
        }
    }
}

/// Whether `name` is one that the service gives to a container.
fn check_container(name: &str) -> Result<(), &'static str> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && (3..=63).contains(&name.len()) {
        Ok(())
    } else {
        Err("a container's name is 3 to 63 lower-case letters, digits and hyphens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn area(container: &str, path: &str) -> Area {
        Area::new(container, path).unwrap()
    }

    fn guard(base: &str) -> Guard {
        Guard::default()
            .labeled_in(area("data", base))
            .work_in(area("work", ""))
    }

    #[test]
    fn labelled_datasets_and_work_may_be_written_and_nothing_else() {
        for base in ["", "base/path"] {
            let at = |path: &str| match base {
                "" => area("data", path),
                base => area("data", &format!("{base}/{path}")),
            };
            let guard = guard(base);
            for path in ["LABELED_v4", "LABELED_v4/.softlabel", "LABELED_v4/train"] {
                assert_eq!(guard.check(&at(path)), Ok(()), "{path}");
            }
            for path in [
                "v4",
                "v4/LABELED_v4",
                "LABELED",
                "LABELED_",
                "labeled_v4",
                "XLABELED_v4",
                "v4LABELED_",
                ".softlabel",
            ] {
                assert!(guard.check(&at(path)).is_err(), "{path}");
            }
            assert!(guard.check(&area("data", base)).is_err());
            assert_eq!(guard.check(&area("work", "")), Ok(()));
            assert_eq!(guard.check(&area("work", "runs")), Ok(()));
            assert!(guard.check(&area("other", "LABELED_v4")).is_err());
        }
        // Names that only begin like the base.
        assert!(
            guard("base")
                .check(&area("data", "base2/LABELED_v4"))
                .is_err()
        );
        assert!(guard("base").check(&area("data", "LABELED_v4")).is_err());
    }

    #[test]
    fn work_is_never_where_datasets_are() {
        let data = area("data", "base");
        for work in ["", "base", "base/work"] {
            let guard = Guard::default()
                .labeled_in(data.clone())
                .work_in(area("data", work));
            for path in [work, "base/v4", "base", "base/work/runs"] {
                assert!(guard.check(&area("data", path)).is_err(), "{work}: {path}");
            }
        }
        let beside = Guard::default()
            .labeled_in(data)
            .work_in(area("data", "basework"));
        assert_eq!(beside.check(&area("data", "basework/runs")), Ok(()));
    }

    #[test]
    fn what_is_raw_is_raw_whatever_its_name() {
        let guard = guard("v4")
            .never(area("data", "v4"))
            .never(area("work", "raw/v4"));
        for (container, path) in [
            ("data", "v4/LABELED_v4"),
            ("work", ""),
            ("work", "raw"),
            ("work", "raw/v4/x"),
        ] {
            let refused = guard.check(&area(container, path));
            assert_eq!(refused, Err("RAW lies there"), "{container}/{path}");
        }
        assert_eq!(guard.check(&area("work", "raw/v45")), Ok(()));
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let guard = Guard::default();
        assert!(guard.check(&area("data", "LABELED_v4")).is_err());
        assert!(guard.check(&area("work", "")).is_err());
    }

    #[test]
    fn no_name_means_something_else_once_it_is_decoded() {
        for path in [
            "..",
            "a/../b",
            "./a",
            "/a",
            "a/",
            "a//b",
            "%2e%2e/b",
            "a/%2E./b",
            "a/%252e%252e/b",
            "a%2f..%2fb",
            "a/.%2f",
            "a%5c..",
            "a\\..\\b",
            "a/b.",
            "a/...",
            "a\nb",
            "%00",
            "%ff",
        ] {
            assert!(check_names(path).is_err(), "{path:?}");
            assert!(Area::new("data", path).is_err(), "{path:?}");
        }
        for path in [
            "a",
            "a/.b",
            "a b/c.json",
            "100%",
            "träin/a&b%20<c>.json",
            "a+b",
        ] {
            assert_eq!(check_names(path), Ok(()), "{path:?}");
        }
        assert!(check_names(&"x".repeat(1025)).is_err());
        for container in ["", "Data", "a/b", "..", "da", "d_t", "%2e%2e"] {
            assert!(Area::new(container, "").is_err(), "{container:?}");
        }
    }

    proptest! {
        #[test]
        fn what_may_be_written_below_a_base_begins_with_labeled(
            base in prop::sample::select(vec!["", "b", "b/c", "LABELED_b"]),
            path in "[a-zA-Z_./%]{0,24}",
            prefix in prop::sample::select(vec!["", "LABELED_", "b/", "b/LABELED_", "b/c/"]),
        ) {
            let path = format!("{prefix}{path}");
            let Ok(there) = Area::new("data", &path) else { return Ok(()) };
            if guard(base).check(&there).is_ok() {
                let below = match base {
                    "" => path.as_str(),
                    base => path.strip_prefix(base).unwrap().strip_prefix('/').unwrap(),
                };
                prop_assert!(below.starts_with("LABELED_"), "{}", path);
                prop_assert!(below.split('/').all(|name| name != ".."), "{}", path);
            }
        }
    }
}
