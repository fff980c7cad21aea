//! The path of a rule, and the two ways in which it matches a request's.

use curfew_core::Fields;

use crate::paths::{Path, is_canonical, may_be_read_as, segments};

/// The path of a rule.
#[derive(Debug)]
pub(super) enum PathMatch {
    Exact(String),
    /// Whole segments: `/public` matches `/public` and `/public/a`, not `/publicity`.
    Prefix(String),
    /// Segment by segment; `None` matches any segment that is not empty.
    Template(Vec<Option<String>>),
}

impl PathMatch {
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(own) => path == own.as_bytes(),
            Self::Prefix(own) => {
                let rest = path.strip_prefix(own.as_bytes());
                rest.is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with(b"/"))
            }
            Self::Template(own) => {
                let mut sent = path.strip_prefix(b"/").into_iter().flat_map(|path| path.split(|&byte| byte == b'/'));
                let same = |own: &Option<String>, sent: &[u8]| match own {
                    Some(own) => own.as_bytes() == sent,
                    None => !sent.is_empty(),
                };
                own.iter().all(|own| sent.next().is_some_and(|sent| same(own, sent))) && sent.next().is_none()
            }
        }
    }

    /// True if some program may take the path for one that this matches.
    pub(super) fn may_be(&self, path: &Path<'_>) -> bool {
        let decoded = |text: &str| match text.is_ascii() {
            true => self.matches_widely(text.as_bytes()),
            false => self.may_be_read_from(text),
        };
        self.matches_widely(path.raw()) || path.decoded().is_some_and(decoded)
    }

    /// The same as [`Self::matches_widely`], segment by segment, for a text that may be beyond ASCII.
    fn may_be_read_from(&self, text: &str) -> bool {
        let mut sent = segments(text);
        let mut same = |own: Option<&str>| match (own, sent.next()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(sent)) => {
                // A cut further on has more dots than the name has bytes.
                let cuts = sent.match_indices('.').take(own.len().saturating_add(1));
                let cuts = cuts.filter_map(|(dot, _)| sent.get(..dot));
                cuts.chain([sent]).any(|sent| may_be_read_as(sent, own))
            }
        };
        let all = match self {
            Self::Exact(own) | Self::Prefix(own) => {
                segments(own.strip_suffix('/').unwrap_or(own)).filter(|own| !own.is_empty()).all(|own| same(Some(own)))
            }
            Self::Template(own) => own.iter().all(|own| same(own.as_deref())),
        };
        all && (matches!(self, Self::Prefix(_)) || sent.all(str::is_empty))
    }

    /// Matches as a router that ignores case, a slash at the end and a suffix.
    fn matches_widely(&self, path: &[u8]) -> bool {
        let (Self::Exact(own) | Self::Prefix(own)) = self else {
            return self.may_be_read_from(&String::from_utf8_lossy(path));
        };
        let own = own.strip_suffix('/').unwrap_or(own).as_bytes();
        let split = path.split_at_checked(own.len());
        let rest = split.filter(|(start, _)| start.eq_ignore_ascii_case(own)).map(|(_, rest)| rest);
        match (self, rest) {
            (_, None) => false,
            (_, Some([] | b"/" | [b'.', ..])) => true,
            (Self::Prefix(_), Some(rest)) => rest.starts_with(b"/"),
            (_, Some(_)) => false,
        }
    }

    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let (name, text) = match (fields.text("path"), fields.text("prefix"), fields.text("template")) {
            (Some(text), None, None) => ("path", text),
            (None, Some(text), None) => ("prefix", text),
            (None, None, Some(text)) => ("template", text),
            _ => {
                fields.wrong("path", "exactly one of path, prefix and template must be given");
                return None;
            }
        };
        if !is_canonical(text.as_bytes()) {
            let form = "it starts with / and has no empty or dot segments, %, ; or \\";
            fields.wrong(name, format!("must be a path in canonical form: {form}"));
            return None;
        }
        match name {
            "path" => Some(Self::Exact(text.to_owned())),
            "prefix" => Some(Self::Prefix(text.to_owned())),
            _ => Self::template(text, fields),
        }
    }

    fn template(text: &str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let read = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if is_variable(name) => Ok(None),
            None if !segment.contains(['{', '}', '*']) => Ok(Some(segment.to_owned())),
            _ => Err(()),
        };
        match segments(text).map(read).collect() {
            Ok(segments) => Some(Self::Template(segments)),
            Err(()) => {
                fields.wrong(
                    "template",
                    "each segment must be text without {, } and *, or a name in braces, such as {id}",
                );
                None
            }
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
