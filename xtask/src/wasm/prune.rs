//! Removes the exports that a host would call for nothing.
//!
//! The SDK exports every callback of proxy-wasm. For each exported callback the host enters the VM on every request, even
//! if the filter does nothing there, and one entry costs about as much as several thousand instructions inside. So the
//! build removes the names of the callbacks that the filter does not use. The functions themselves stay: this is not a
//! linker.
//!
//! [`KEPT`] lists the callbacks that `filter/src/glue.rs` uses. A callback that is implemented there and missing here would
//! never be called.

use anyhow::{Context as _, Result, bail, ensure};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{Encoding, ExportSectionReader, ExternalKind, Parser, Payload};

/// The common beginning of the names of all callbacks of proxy-wasm. Other exports stay.
const CALLBACKS: &str = "proxy_on_";

/// The callbacks that stay.
///
/// The filter calls itself when the root's queue has news, so `proxy_on_queue_ready` needs no export. A host calls
/// `proxy_on_new_connection` only if the filter is loaded as a network filter by mistake. The SDK then traps; without the
/// export a host would let every byte pass.
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

/// Returns the module without the callbacks that do nothing. All other sections keep their bytes.
///
/// # Errors
/// If the bytes are not a WebAssembly module, or if the module lacks one of the callbacks in [`KEPT`]: a host lets every
/// request pass a module that does not ask to see them.
pub(super) fn pruned(module: &[u8]) -> Result<Vec<u8>> {
    let (mut pruned, mut exports) = (Module::new(), None);
    for payload in Parser::new(0).parse_all(module) {
        match payload.context("the bytes are not a WebAssembly module")? {
            Payload::Version { encoding: Encoding::Component, .. } => bail!("this is a component, not a module"),
            Payload::ExportSection(section) => {
                pruned.section(exports.insert(without_idle(section)?));
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = module.get(range).context("a section reaches beyond the module")?;
                    pruned.section(&RawSection { id, data });
                }
            }
        }
    }
    ensure!(exports.is_some(), "the module exports nothing");
    Ok(pruned.finish())
}

/// Returns the export section without the callbacks that do nothing.
fn without_idle(section: ExportSectionReader<'_>) -> Result<ExportSection> {
    let (mut exports, mut missing) = (ExportSection::new(), Vec::from(KEPT));
    for export in section {
        let export = export.context("the export section cannot be read")?;
        missing.retain(|wanted| *wanted != export.name);
        if !export.name.starts_with(CALLBACKS) || KEPT.contains(&export.name) {
            exports.export(export.name, kind(export.kind)?, export.index);
        }
    }
    ensure!(missing.is_empty(), "the module exports no {}", missing.join(", "));
    Ok(exports)
}

fn kind(kind: ExternalKind) -> Result<ExportKind> {
    Ok(match kind {
        ExternalKind::Func => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
        ExternalKind::FuncExact => bail!("the module exports a function with an exact type, which no host here reads"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\0asm\x01\0\0\0";
    const EXPORTS: u8 = 7;
    const CUSTOM: u8 = 0;

    /// A module with sections around its exports that no tool knows. Written by hand, so that it does not depend on the
    /// crates under test.
    fn module(exports: &[&str]) -> Vec<u8> {
        let mut section = vec![u8::try_from(exports.len()).unwrap()];
        for name in exports {
            section.push(u8::try_from(name.len()).unwrap());
            section.extend_from_slice(name.as_bytes());
            section.extend_from_slice(&[0, 0xac, 0x02]);
        }
        let mut module = HEADER.to_vec();
        // A custom section begins with its name: here one of 120 letters, and one of none.
        for (id, content) in [(CUSTOM, [b'x'; 200].as_slice()), (EXPORTS, &section), (CUSTOM, b"\0")] {
            write_section(id, content, &mut module);
        }
        module
    }

    /// The size in LEB128 of at most two bytes.
    fn write_section(id: u8, content: &[u8], to: &mut Vec<u8>) {
        to.push(id);
        let [low, high] = u16::try_from(content.len()).unwrap().to_le_bytes();
        match (high << 1) | (low >> 7) {
            0 => to.push(low),
            high => to.extend_from_slice(&[low | 0x80, high]),
        }
        to.extend_from_slice(content);
    }

    #[test]
    fn idle_callbacks_are_removed_and_every_other_byte_stays() {
        let kept = [["memory", "proxy_abi_version_0_2_1"].as_slice(), &KEPT].concat();
        let before = module(&[["proxy_on_log"].as_slice(), &kept, &["proxy_on_done"]].concat());
        let after = module(&kept);
        assert_eq!(pruned(&before).unwrap(), after);
        assert_eq!(pruned(&after).unwrap(), after);
    }

    #[test]
    fn a_module_without_one_of_the_kept_callbacks_is_an_error() {
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
        let ends = [whole.len() - 3, whole.len()];
        for end in (sections..whole.len()).filter(|end| !ends.contains(end)) {
            assert!(pruned(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn wrong_counts_and_lengths_are_errors() {
        for (lie, section) in [
            ("more exports than there are", b"\x02\x01a\0\0".as_slice()),
            ("fewer exports than there are", b"\x00\x01a\0\0"),
            ("a name that goes beyond the section", b"\x01\x7fa\0\0"),
            ("33 bits", b"\xff\xff\xff\xff\x1f"),
            ("six bytes", b"\x80\x80\x80\x80\x80\x00"),
            ("more exports than fit in memory", b"\xff\xff\xff\xff\x0f"),
        ] {
            let mut module = HEADER.to_vec();
            write_section(EXPORTS, section, &mut module);
            assert!(pruned(&module).is_err(), "{lie}");
        }
    }

    #[test]
    fn a_component_is_an_error() {
        assert!(pruned(b"\0asm\x0d\0\x01\0").is_err());
    }

    /// Every callback that the filter implements is kept, except the one that only the filter itself calls.
    #[test]
    fn every_implemented_callback_is_kept() {
        let glue = std::fs::read_to_string(crate::workspace::root().join("filter/src/glue.rs")).unwrap();
        let implemented = glue.lines().filter_map(|line| line.trim().strip_prefix("fn on_")?.split('(').next());
        let names: Vec<_> =
            implemented.map(|name| format!("proxy_on_{}", name.replace("http_request", "request"))).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let gone: Vec<_> = names.iter().filter(|name| !KEPT.contains(&name.as_str())).collect();
        assert_eq!(gone, ["proxy_on_queue_ready"]);
    }
}
