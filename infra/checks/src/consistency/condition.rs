//! What a role assignment's condition allows.
//!
//! The part of the language that ours uses: `ActionMatches{'…'}`, `@Resource[…:path] StringLike '…'`,
//! `!`, `AND`, `OR` and parentheses. `*` stands for any characters, slashes included; letters count as
//! they are written.

/// Whether `condition` lets `action` be done to the blob at `path`. None: it is not understood.
pub fn allows(condition: &str, action: &str, path: &str) -> Option<bool> {
    let mut reader = Reader {
        rest: condition,
        action,
        path,
    };
    let allowed = reader.either()?;
    reader.rest.trim().is_empty().then_some(allowed)
}

struct Reader<'a> {
    rest: &'a str,
    action: &'a str,
    path: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    fn either(&mut self) -> Option<bool> {
        let mut value = self.both()?;
        while self.take("OR") {
            let right = self.both()?;
            value = value || right;
        }
        Some(value)
    }

    fn both(&mut self) -> Option<bool> {
        let mut value = self.one()?;
        while self.take("AND") {
            let right = self.one()?;
            value = value && right;
        }
        Some(value)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("!") {
            return self.one().map(|value| !value);
        }
        if self.take("(") {
            let value = self.either()?;
            return self.take(")").then_some(value);
        }
        if self.take("ActionMatches{'") {
            let action = self.until('\'')?;
            return self.take("}").then_some(action == self.action);
        }
        if self
            .take("@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path]")
        {
            let known = self.take("StringLike") && self.take("'");
            let pattern = known.then(|| self.until('\''))??;
            return Some(like(pattern, self.path));
        }
        None
    }
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| text.get(at..).is_some_and(|text| like(rest, text)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn conditions_are_read_as_azure_reads_them() {
        let path =
            "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path]";
        let condition = format!(
            "((!(ActionMatches{{'w'}}) AND !(ActionMatches{{'d'}})) OR ({path} StringLike 'a/L_*'))"
        );
        let allows = |action, path| allows(&condition, action, path);
        assert_eq!(allows("r", "a/x"), Some(true));
        assert_eq!(allows("w", "a/x"), Some(false));
        assert_eq!(allows("d", "b/a/L_x"), Some(false));
        assert_eq!(allows("w", "a/L_x/y"), Some(true));
        assert_eq!(allows("w", "a/l_x"), Some(false));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for condition in [
            "",
            "(a",
            "ActionMatches{'w'} XOR ActionMatches{'r'}",
            "@Request[x] StringLike 'y'",
        ] {
            assert_eq!(allows(condition, "w", "x"), None, "{condition}");
        }
    }
}
