//! Paths as the programs behind Envoy may read them: which of them have one reading alone.
//!
//! Some programs decode the escapes of a path, some decode them twice, some do not decode at all; some take dot segments
//! out before that, some after it; some strip invisible characters, or replace letters by their plain forms. A path has
//! one reading if none of this moves it to another place: no escape stands for a character that structures a path, and
//! none is left after one decoding. A space, a letter, `@` and text in other scripts are no disguise.

/// A path as it was sent, without its query.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    raw: &'a [u8],
    /// Its text without escapes, if it has some and one reading alone.
    decoded: Option<String>,
}

impl<'a> Path<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        let decoded = if raw.contains(&b'%') { decoded(raw) } else { None };
        Self { raw, decoded }
    }

    /// The path as it was sent.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The path as a program reads it that decodes escapes. `None` if it has none, or several readings.
    pub(crate) fn decoded(&self) -> Option<&str> {
        self.decoded.as_deref()
    }

    /// True if every program takes the path for the same place.
    pub(crate) fn has_one_reading(&self) -> bool {
        self.decoded.is_some() || is_canonical(self.raw)
    }
}

/// True if the path is canonical without any decoding: absolute, printable ASCII, nothing encoded, no parameters, no
/// fragment, no empty and no dot segments. A slash at the end is fine.
pub(crate) fn is_canonical(path: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"%;\\#?".contains(&byte);
    path.iter().copied().all(plain) && has_plain_segments(path)
}

/// True if the path is absolute and has no empty and no dot segments.
fn has_plain_segments(path: &[u8]) -> bool {
    let Some(segments) = path.strip_prefix(b"/") else {
        return false;
    };
    let segments =
        segments.strip_suffix(b"/").map_or(segments, |trimmed| if trimmed.is_empty() { b"/" } else { trimmed });
    segments.is_empty() || segments.split(|&byte| byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
}

/// The path without its escapes, if it has one reading alone.
fn decoded(raw: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            text.push(Some(byte).filter(|byte| byte.is_ascii_graphic() && !b";\\#?".contains(byte))?);
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>()?;
        text.push(unescaped(digits).filter(|byte| may_be_escaped(*byte))?);
        rest = after;
    }
    let text = String::from_utf8(text).ok()?;
    let keeps = |character: char| character.is_ascii() || is_text(character);
    let plain = text.chars().all(keeps) && text.split('/').all(is_no_disguise) && has_plain_segments(text.as_bytes());
    plain.then_some(text)
}

fn unescaped(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high?.checked_mul(16)?.checked_add(low?)?).ok()
}

/// True for a space, a byte of UTF-8, and what may stand in a segment as itself (RFC 3986 section 3.3), without the two
/// characters that mean something there: `.` and `;`. A `/`, `\`, `%`, `?`, `#`, NUL or other control character would
/// change the path for the program that decodes it.
fn may_be_escaped(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b" -_~!$&'()*+,=:@".contains(&byte)
}

/// False for a segment that some program trims to dots or to another name. Some strip blanks at its ends, some strip
/// characters that nobody sees, and others beyond ASCII.
fn is_no_disguise(segment: &str) -> bool {
    let blank = |character: char| matches!(character, '.' | ' ') || !character.is_ascii();
    let dots = segment.contains('.') && segment.chars().all(blank);
    !dots && !segment.starts_with(' ') && !segment.ends_with(' ')
}

/// True for characters beyond ASCII that no program replaces by one that structures a path.
///
/// Left out are those with such a compatible form (Unicode's NFKC, Windows' best fit): a full-width slash, a one dot
/// leader, a Greek question mark, a yen sign. With them, whole blocks are left out: punctuation, compatible forms,
/// invisible characters, private use.
fn is_text(character: char) -> bool {
    const RANGES: [(u32, u32); 27] = [
        // Latin, marks to combine, Greek without its question mark, other alphabets.
        (0x00c0, 0x02af),
        (0x0300, 0x0373),
        (0x0376, 0x0377),
        (0x037b, 0x037d),
        (0x037f, 0x037f),
        (0x0386, 0x0386),
        (0x0388, 0x1cff),
        (0x1e00, 0x1fbc),
        (0x1fc2, 0x1fcc),
        (0x1fd0, 0x1fdb),
        (0x1fe0, 0x1fec),
        (0x1ff2, 0x1ffc),
        // Dashes and quotation marks.
        (0x2010, 0x2015),
        (0x2018, 0x201e),
        // Signs.
        (0x2600, 0x27bf),
        (0x2c00, 0x2c5f),
        (0x2c80, 0x2dff),
        // Chinese, Japanese, Korean, and other scripts of Asia and Africa.
        (0x2e80, 0x2fff),
        (0x3005, 0x3163),
        (0x3165, 0x31ff),
        (0x3400, 0xa6ff),
        (0xa800, 0xab2f),
        (0xab70, 0xd7ff),
        (0xf900, 0xfaff),
        // Emoji, and rare Chinese characters.
        (0x1f300, 0x1faff),
        (0x20000, 0x2fa1f),
        (0x30000, 0x323af),
    ];
    RANGES.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(character)))
}

/// True if some program may take `segment`, of a request, for `name`, which is ASCII.
///
/// Case is ignored. A character beyond ASCII may stand for any characters or none: programs replace `í` by `i` and `ﬁ` by
/// `fi`, and drop what nobody sees. A segment without any Latin letter or digit is no name in ASCII.
pub(crate) fn may_be_read_as(segment: &str, name: &str) -> bool {
    // Before all that costs more: a segment may be as long as Envoy's limit for headers.
    if segment.bytes().filter(u8::is_ascii).nth(name.len()).is_some() {
        return false;
    }
    let latin = |character: char| character.is_ascii_alphanumeric() || ('\u{c0}'..='\u{1eff}').contains(&character);
    let (own, wanted) = (pattern(segment), name.as_bytes());
    if !segment.chars().any(latin) {
        return false;
    }
    // The places in the name that the pattern so far may have reached.
    let mut reached: Vec<bool> = (0..=wanted.len()).map(|place| place == 0).collect();
    for one in own {
        reached = match one {
            None => reached.iter().scan(false, |any, &here| Some(*any || here).inspect(|now| *any = *now)).collect(),
            Some(letter) => {
                let steps = reached.iter().zip(wanted).map(|(here, byte)| *here && letter.eq_ignore_ascii_case(byte));
                std::iter::once(false).chain(steps).collect()
            }
        };
    }
    reached.last().copied().unwrap_or(false)
}

/// The ASCII characters of a segment, with `None` for each run of others.
fn pattern(segment: &str) -> Vec<Option<u8>> {
    let mut pattern: Vec<_> =
        segment.chars().map(|character| u8::try_from(character).ok().filter(u8::is_ascii)).collect();
    pattern.dedup_by(|one, other| one.is_none() && other.is_none());
    pattern
}

/// The segments of a path: `/a/b` has `a` and `b`.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_reading(path: &str) -> bool {
        Path::new(path.as_bytes()).has_one_reading()
    }

    #[test]
    fn escapes_that_stand_for_plain_text_are_decoded() {
        for (path, expected) in [
            ("/public/a%20b.png", "/public/a b.png"),
            ("/public/%61%2Db%5fc%7e", "/public/a-b_c~"),
            ("/public/photo%20%281%29%2c%40home.png", "/public/photo (1),@home.png"),
            ("/public/caf%C3%A9/", "/public/café/"),
            ("/public/%E6%97%A5%E6%9C%AC/%d0%b0.txt", "/public/日本/а.txt"),
            ("/public/What%E2%80%99s%20new%F0%9F%8E%89.pdf", "/public/What’s new🎉.pdf"),
        ] {
            assert_eq!(Path::new(path.as_bytes()).decoded(), Some(expected), "{path}");
        }
    }

    #[test]
    fn escapes_with_a_second_reading_are_a_disguise() {
        for path in [
            "/public/%2e%2e/admin",
            "/public/a%2Epng",
            "/public/a%2fb",
            "/public/a%5cb",
            "/public/a%00.css",
            "/public/a%0a",
            "/public/%7f",
            "/public/%252e",
            "/public/%25",
            "/public/100%",
            "/public/%2",
            "/public/%zz",
            "/public/%+2",
            "/public/%u002e",
            "/public/a%3bb",
            "/public/a%3fb",
            "/public/a%23b",
            "/public/a%20;b",
            "/public//a%20b",
            "/public/../a%20b",
            "/public/..%20/admin",
            "/public/%20./admin",
            "/public/a%20",
            "/public/%20a",
            "/public/%20/a",
            "/public/.%e2%80%8b./admin",
            "/public/.%d8%9c./admin",
            "public/a%20b",
        ] {
            assert!(!one_reading(path), "{path}");
        }
    }

    #[test]
    fn bytes_and_characters_that_turn_into_others_are_a_disguise() {
        for escaped in [
            "%c0%ae",
            "%c0%af",
            "%e0%80%af",
            "%ed%a0%80",
            "%ff",
            "%c3",
            "%ef%bc%8f",
            "%ef%bc%8e",
            "%ef%bc%bc",
            "%e2%80%a4",
            "%e2%80%a6",
            "%cd%be",
            "%c2%a5",
            "%e2%82%a9",
            "%e2%81%84",
            "%e2%88%95",
            "%e2%84%80",
            "%e2%92%88",
            "%ef%b9%92",
            "%c2%a0",
            "%c2%85",
            "%ef%bb%bf",
            "%e2%80%ae",
            "%e3%8f%82",
            "%ef%ac%81",
            "%f0%9d%90%9a",
            "%f0%9f%84%80",
        ] {
            assert!(!one_reading(&format!("/public/x{escaped}y")), "{escaped}");
        }
        assert!(!one_reading("/public/caf\u{e9}"), "raw");
    }

    #[test]
    fn a_name_may_hide_behind_characters_beyond_ascii() {
        for segment in ["admin", "ADMIN", "adm\u{ed}n", "admi\u{301}n", "\u{e4}dmin", "ad\u{ad}min", "a\u{131}\u{e9}n"]
        {
            assert!(may_be_read_as(segment, "admin"), "{segment}");
        }
        for segment in ["b\u{fc}cher", "admins", "dmin", "日本", "日", "adm\u{ed}nx", &"日a".repeat(10_000)] {
            assert!(!may_be_read_as(segment, "admin"), "{segment}");
        }
    }
}
