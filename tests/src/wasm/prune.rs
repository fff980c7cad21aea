//! Takes the exports out of a module that a host would call for nothing.
//!
//! A host enters the VM for each callback that a module exports, for every request, and each entry costs it about as much as
//! several thousand instructions inside. The SDK exports all callbacks that there are, and the linker keeps what is exported.
//!
//! No linker: only the names go, the functions stay. [`KEPT`] says what the filter (`filter/src/glue.rs`) has something to do
//! in; a callback that is implemented there and not named here would never come.

use anyhow::{Context as _, Result, ensure};

/// Magic number and version (WebAssembly core specification, 5.5.16).
const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// The id of the export section (5.5.10).
const EXPORTS: u8 = 7;

/// What the names of all callbacks of proxy-wasm begin with. Other exports stay.
const CALLBACKS: &[u8] = b"proxy_on_";

/// The callbacks that stay. A ring at the root's queue comes from inside, and needs no export. New connections come only to who
/// loads the filter as a network filter, by mistake: the SDK then traps, and without the callback a host lets all bytes pass.
pub const KEPT: [&str; 11] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_new_connection",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// The module without the callbacks that do nothing.
///
/// # Errors
/// When the bytes are no WebAssembly module, its sections or exports cannot be read, or it is not the filter's: a host lets
/// all requests pass a module that does not want to see them.
pub(super) fn pruned(module: &[u8]) -> Result<Vec<u8>> {
    let mut rest = Reader(module);
    ensure!(rest.bytes(HEADER.len())? == HEADER, "this is no WebAssembly module");
    let (mut pruned, mut exports) = (HEADER.to_vec(), None);
    while !rest.0.is_empty() {
        let id = rest.byte()?;
        let section = rest.sized()?;
        pruned.push(id);
        match id {
            EXPORTS => write_sized(exports.insert(without_idle(section)?), &mut pruned)?,
            _ => write_sized(section, &mut pruned)?,
        }
    }
    ensure!(exports.is_some(), "the module exports nothing");
    Ok(pruned)
}

/// An export section's content without the callbacks that do nothing.
fn without_idle(section: &[u8]) -> Result<Vec<u8>> {
    let mut rest = Reader(section);
    let (mut count, mut kept, mut missing) = (0, Vec::new(), Vec::from(KEPT));
    for _ in 0..rest.number()? {
        let name = rest.sized()?;
        let (kind, index) = (rest.byte()?, rest.number()?);
        missing.retain(|wanted| wanted.as_bytes() != name);
        if !name.starts_with(CALLBACKS) || KEPT.iter().any(|kept| kept.as_bytes() == name) {
            count += 1;
            write_sized(name, &mut kept)?;
            kept.push(kind);
            write_number(index, &mut kept);
        }
    }
    ensure!(rest.0.is_empty(), "the export section has more than it says");
    ensure!(missing.is_empty(), "the module exports no {}", missing.join(", "));
    let mut section = Vec::new();
    write_number(count, &mut section);
    section.append(&mut kept);
    Ok(section)
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).context("the module ends in the middle")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.0.split_first().context("the module ends in the middle")?;
        self.0 = rest;
        Ok(*byte)
    }

    /// A `u32` in LEB128 (5.2.2): seven bits a byte, the lowest first, at most five bytes.
    fn number(&mut self) -> Result<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).context("a number has more than 32 bits");
            }
        }
        anyhow::bail!("a number has more than five bytes")
    }

    /// A number, and so many bytes.
    fn sized(&mut self) -> Result<&'a [u8]> {
        let size = usize::try_from(self.number()?)?;
        self.bytes(size)
    }
}

fn write_number(mut number: u32, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

fn write_sized(bytes: &[u8], to: &mut Vec<u8>) -> Result<()> {
    write_number(u32::try_from(bytes.len())?, to);
    to.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with sections that mean nothing to anybody around its exports.
    fn module(exports: &[&str]) -> Vec<u8> {
        let mut section = Vec::new();
        write_number(u32::try_from(exports.len()).unwrap(), &mut section);
        for name in exports {
            write_sized(name.as_bytes(), &mut section).unwrap();
            section.extend_from_slice(&[0, 0xac, 0x02]);
        }
        let mut module = HEADER.to_vec();
        for (id, content) in [(0, [b'x'; 200].as_slice()), (EXPORTS, &section), (0, b"")] {
            module.push(id);
            write_sized(content, &mut module).unwrap();
        }
        module
    }

    #[test]
    fn callbacks_that_do_nothing_go_and_all_else_stays_as_it_was() {
        let kept = [["memory", "proxy_abi_version_0_2_1"].as_slice(), &KEPT].concat();
        let before = module(&[["proxy_on_log"].as_slice(), &kept, &["proxy_on_done"]].concat());
        let after = module(&kept);
        assert_eq!(pruned(&before).unwrap(), after);
        assert_eq!(pruned(&after).unwrap(), after);
    }

    #[test]
    fn a_module_that_wants_to_see_less_than_the_filter_is_an_error() {
        assert!(pruned(HEADER).is_err());
        assert!(pruned(&module(&[])).is_err());
        for missing in KEPT {
            let others: Vec<_> = KEPT.into_iter().filter(|name| *name != missing).collect();
            let error = pruned(&module(&others)).unwrap_err().to_string();
            assert_eq!(error, format!("the module exports no {missing}"));
        }
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        for garbage in [b"".as_slice(), b"\0asm", b"\0asm\x02\0\0\0", b"#!/bin/sh\nexit 1\n"] {
            assert!(pruned(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_module_that_ends_in_the_middle_of_a_section_is_an_error() {
        let (whole, sections) = (module(&KEPT), HEADER.len() + 1);
        pruned(&whole).unwrap();
        // A module may end after its exports.
        let ends = [whole.len() - 2, whole.len()];
        for end in (sections..whole.len()).filter(|end| !ends.contains(end)) {
            assert!(pruned(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn numbers_that_lie_are_errors() {
        for (lie, section) in [
            ("more exports than there are", b"\x02\x01a\0\0".as_slice()),
            ("fewer exports than there are", b"\x00\x01a\0\0"),
            ("a name that goes beyond the section", b"\x01\x7fa\0\0"),
            ("33 bits", b"\xff\xff\xff\xff\x1f"),
            ("six bytes", b"\x80\x80\x80\x80\x80\x00"),
            ("more exports than fit in memory", b"\xff\xff\xff\xff\x0f"),
        ] {
            let mut module = HEADER.to_vec();
            module.push(EXPORTS);
            write_sized(section, &mut module).unwrap();
            assert!(pruned(&module).is_err(), "{lie}");
        }
    }

    /// What the filter implements, with the one exception that it calls itself.
    #[test]
    fn no_callback_that_does_something_goes() {
        let glue = std::fs::read_to_string(crate::workspace::root().join("filter/src/glue.rs")).unwrap();
        let implemented = glue.lines().filter_map(|line| line.trim().strip_prefix("fn on_")?.split('(').next());
        let names: Vec<_> =
            implemented.map(|name| format!("proxy_on_{}", name.replace("http_request", "request"))).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let gone: Vec<_> = names.iter().filter(|name| !KEPT.contains(&name.as_str())).collect();
        assert_eq!(gone, ["proxy_on_queue_ready"]);
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u32::MAX] {
            let mut bytes = Vec::new();
            write_number(number, &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.number().unwrap(), reader.0), (number, [].as_slice()));
        }
    }
}
