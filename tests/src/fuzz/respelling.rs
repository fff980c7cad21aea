//! Other texts that a lenient reader would take for the same token.

use crate::attacks::Forge;
use crate::tokens::es256_twin;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Respellings of a compact token that need no key.
pub(super) fn respellings(text: &[u8]) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'.').collect();
    let mut all = around(text);
    for (index, part) in parts.iter().enumerate() {
        for other in of_part(part) {
            let mut parts = parts.clone();
            if let Some(slot) = parts.get_mut(index) {
                *slot = &other;
            }
            all.push(parts.join(&b'.'));
        }
    }
    all.extend(std::str::from_utf8(text).ok().and_then(|text| es256_twin(text).ok()).map(String::into_bytes));
    all.retain(|other| other != text);
    all
}

fn around(text: &[u8]) -> Vec<Vec<u8>> {
    let before: [&[u8]; 4] = [b" ", b".", b"\xef\xbb\xbf", b"\t"];
    let behind: [&[u8]; 6] = [b" ", b".", b"\n", b"\0", b"=", b"\r\n"];
    let before = before.into_iter().map(|more| [more, text].concat());
    before.chain(behind.into_iter().map(|more| [text, more].concat())).collect()
}

fn of_part(part: &[u8]) -> Vec<Vec<u8>> {
    let behind: [&[u8]; 7] = [b"=", b"==", b"%3D", b"A", b"AA", b"\n", b" "];
    let mut all: Vec<Vec<u8>> = behind.iter().map(|more| [part, more].concat()).collect();
    all.extend(unused_bits(part));
    all.push(part.iter().map(|&byte| if byte == b'-' { b'+' } else { byte }).collect());
    all.push(part.iter().map(|&byte| if byte == b'_' { b'/' } else { byte }).collect());
    all.push([b"A", part].concat());
    all.extend(part.split_last().map(|(_, rest)| rest.to_vec()));
    all
}

/// The part with another last character, of which only the unused bits differ, or might.
fn unused_bits(part: &[u8]) -> Vec<Vec<u8>> {
    let Some((last, rest)) = part.split_last() else { return Vec::new() };
    let Some(position) = ALPHABET.iter().position(|known| known == last) else { return Vec::new() };
    let others = [1, 2, 3, 4, 8, 15].map(|bits| ALPHABET.get(position ^ bits));
    others.into_iter().flatten().map(|other| [rest, &[*other]].concat()).collect()
}

/// The same payload signed again under other good headers: each is another token.
pub(super) fn signed_anew(forge: &Forge<'_>, payload: &[u8]) -> Vec<String> {
    let headers = [r#"{"alg":"HS256"}"#, r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"HS256","kid":"hs"}"#];
    headers.iter().map(|header| forge.hs256(header, payload)).collect()
}
