//! What the host calls: the module's side of the proxy-wasm ABI (0.2.1), and whose context each call is about.
//!
//! A host makes each call that a module exports, for every request, and entering a VM costs it about as much as all that the filter
//! computes for a known token. So only the callbacks that have something to do are here. The SDK exports all of them, and that
//! alone made the filter half as dear again; see `tests/measure/NOTES.md`.
//!
//! A context that nobody knows is none of ours to let pass: it is refused.

use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::glue::{Action, Plugin, Root, refuse_unreadable};
use crate::host;

/// The host's name for a context.
type ContextId = u32;

/// The contexts of this VM. State belongs to them and not to statics: a VM may serve several plugins.
#[derive(Default)]
struct Contexts {
    roots: RefCell<BTreeMap<ContextId, Rc<RefCell<Root>>>>,
    /// What decides about each stream; `None` if its root had no configuration.
    streams: RefCell<BTreeMap<ContextId, Option<Rc<Plugin>>>>,
}

thread_local! {
    /// A VM has one thread.
    static CONTEXTS: Contexts = const {
        Contexts { roots: RefCell::new(BTreeMap::new()), streams: RefCell::new(BTreeMap::new()) }
    };
}

/// Nothing stays borrowed while a root acts but the root itself. `None` if there is no such root, or it is acting.
fn with_root<T>(id: ContextId, act: impl FnOnce(&mut Root) -> T) -> Option<T> {
    let root = CONTEXTS.with(|contexts| contexts.roots.borrow().get(&id).cloned())?;
    let mut root = root.try_borrow_mut().ok()?;
    Some(act(&mut root))
}

/// What decides about a stream.
fn plugin(stream: ContextId) -> Option<Rc<Plugin>> {
    CONTEXTS.with(|contexts| contexts.streams.borrow().get(&stream).cloned())?
}

/// Acts as the root in a stream's callback, so that the callouts it makes are the root's: an answer goes to the context that
/// asked, and the stream may be gone by then.
pub(crate) fn as_root(root: ContextId, stream: ContextId, act: impl FnOnce(&mut Root)) {
    if host::select(root) {
        with_root(root, act);
    }
    host::select(stream);
}

fn create(id: ContextId, parent: ContextId) {
    CONTEXTS.with(|contexts| {
        if parent == 0 {
            contexts.roots.borrow_mut().insert(id, Rc::new(RefCell::new(Root::new(id))));
        } else {
            let plugin = with_root(parent, |root| root.serving()).flatten();
            contexts.streams.borrow_mut().insert(id, plugin);
        }
    });
}

fn delete(id: ContextId) {
    let stream = CONTEXTS.with(|contexts| contexts.streams.borrow_mut().remove(&id));
    match stream {
        Some(Some(plugin)) => plugin.forget(id),
        Some(None) => {}
        None => {
            with_root(id, Root::end);
            CONTEXTS.with(|contexts| contexts.roots.borrow_mut().remove(&id));
        }
    }
}

fn head(stream: ContextId) -> Action {
    plugin(stream).map_or_else(refuse_unreadable, |plugin| plugin.request_headers(stream))
}

/// What comes after a head that was refused for want of a plugin goes nowhere.
fn after_head(stream: ContextId, act: impl FnOnce(&Plugin) -> Action) -> Action {
    plugin(stream).map_or(Action::Pause, |plugin| act(&plugin))
}

#[expect(unsafe_code, reason = "the host calls these by name")]
mod abi {
    use super::*;

    #[cfg(target_os = "wasi")]
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }

    /// The first call, once per VM.
    #[unsafe(no_mangle)]
    extern "C" fn _initialize() {
        #[cfg(target_os = "wasi")]
        // SAFETY: it is the linker's, takes nothing, and is called once before anything else.
        unsafe {
            __wasm_call_ctors();
        }
        host::start_log();
    }

    /// Never called: its name says which version of the interface this is.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// Memory for what the host hands over; `host::abi::take` owns it afterwards.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        match Layout::array::<u8>(size) {
            // SAFETY: the layout is not empty.
            Ok(layout) if size > 0 => unsafe { std::alloc::alloc(layout) },
            _ => std::ptr::null_mut(),
        }
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(context: ContextId, parent: ContextId) {
        create(context, parent);
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_vm_start(_root: ContextId, _size: usize) -> u32 {
        1
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(root: ContextId, size: usize) -> u32 {
        u32::from(with_root(root, |root| root.configure(size)).unwrap_or(false))
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(root: ContextId) {
        if with_root(root, Root::tick).is_none() {
            host::tick(0);
        }
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_http_call_response(
        root: ContextId,
        call: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        with_root(root, |root| root.answered(call, headers, body_size));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(stream: ContextId, _count: usize, _end_of_stream: u32) -> u32 {
        head(stream) as u32
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_body(stream: ContextId, _size: usize, _end_of_stream: u32) -> u32 {
        after_head(stream, |plugin| plugin.request_body(stream)) as u32
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_trailers(stream: ContextId, _count: usize) -> u32 {
        after_head(stream, |plugin| plugin.request_trailers(stream)) as u32
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_delete(context: ContextId) {
        delete(context);
    }
}
