//! The modules of a package, and which of them use which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::paths::{Named, Names};

/// How many re-exports of a name, from module to module, are followed.
const PASSED_ON: usize = 8;

type Module = Vec<String>;

/// A place where one module uses another one.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) by: Module,
    pub(super) module: Module,
    file: String,
    line: usize,
    path: String,
}

/// The place, and what is written there.
impl fmt::Display for Use {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{} uses {}", self.file, self.line, self.path)
    }
}

/// A package, as far as modules use each other.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// Without those of code for tests, of the root's own file and of the program's.
    pub(super) uses: Vec<Use>,
    modules: BTreeSet<Module>,
}

impl Package {
    /// Reads `root/name/src`.
    ///
    /// # Errors
    /// If a file cannot be read or is not Rust.
    pub(super) fn read(root: &Path, name: &str) -> Result<Self> {
        let mut files = Vec::new();
        find(&root.join(name).join("src"), &mut files)?;
        files.sort();
        let mut named: Vec<(String, Named)> = Vec::new();
        let (mut modules, mut test_modules) = (BTreeSet::new(), Vec::new());
        for file in &files {
            let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
            let module = module_of(file, &root.join(name).join("src"));
            let text = std::fs::read_to_string(file).with_context(|| shown.clone())?;
            let names = Names::read(&text, &module).with_context(|| shown.clone())?;
            named.extend(names.paths.into_iter().map(|path| (shown.clone(), path)));
            test_modules.extend(names.test_modules);
            modules.insert(module);
        }
        let is_for_tests = |module: &Module| test_modules.iter().any(|tests| module.starts_with(tests));
        modules.retain(|module| !is_for_tests(module));
        named.retain(|(_, path)| !is_for_tests(&path.by));
        let uses = resolve(&modules, named);
        Ok(Self { name: name.to_owned(), uses, modules })
    }

    /// The names of its rooms.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &str> {
        let rooms: BTreeSet<&str> =
            self.modules.iter().filter_map(|module| module.first()).map(String::as_str).collect();
        rooms.into_iter()
    }
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The module that a file holds: `a/b.rs` and `a/b/mod.rs` hold `a::b`, `lib.rs` and `main.rs` the root.
fn module_of(file: &Path, source: &Path) -> Module {
    let path = file.strip_prefix(source).unwrap_or(file).with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_root = module.len() == 1 && module.iter().all(|name| name == "lib" || name == "main");
    if is_root || module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// Finds the module that each path leads to.
fn resolve(modules: &BTreeSet<Module>, named: Vec<(String, Named)>) -> Vec<Use> {
    let targets: Vec<Option<Module>> = named.iter().map(|(_, named)| absolute(modules, named)).collect();
    let mut passed_on = BTreeMap::new();
    for ((_, named), target) in named.iter().zip(&targets) {
        if let (Some(name), Some(target)) = (&named.name, target) {
            passed_on.insert([&*named.by, std::slice::from_ref(name)].concat(), target.clone());
        }
    }
    let found = named.into_iter().zip(targets).filter_map(|((file, named), target)| {
        let module = module_in(modules, &passed_on, target?, PASSED_ON);
        Some(Use { by: named.by, module, file, line: named.line, path: named.path.join("::") })
    });
    found.filter(|used| !used.by.is_empty()).collect()
}

/// The path from the root of the package; `None` for a path into another package.
fn absolute(modules: &BTreeSet<Module>, named: &Named) -> Option<Module> {
    let (first, rest) = named.path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([&*named.by, rest].concat()),
        "super" => {
            let up = named.path.iter().take_while(|segment| *segment == "super").count();
            let kept = named.by.len().checked_sub(up)?;
            Some([named.by.get(..kept)?, named.path.get(up..)?].concat())
        }
        // In a `use`, a path may begin with a module of the one that it is written in.
        _ => {
            let child = [&*named.by, std::slice::from_ref(first)].concat();
            (named.name.is_some() && modules.contains(&child)).then(|| [&*named.by, &*named.path].concat())
        }
    }
}

/// The module that the item behind this path is in. A module may re-export names of others by `use`.
fn module_in(modules: &BTreeSet<Module>, passed_on: &BTreeMap<Module, Module>, path: Module, left: usize) -> Module {
    let mut length = 0;
    while length < path.len() && path.get(..=length).is_some_and(|longer| modules.contains(longer)) {
        length += 1;
    }
    let (module, rest) = path.split_at(length);
    let target = rest.first().and_then(|name| passed_on.get(&[module, std::slice::from_ref(name)].concat()));
    match target {
        Some(target) if left > 0 => {
            let path = [target, rest.get(1..).unwrap_or_default()].concat();
            module_in(modules, passed_on, path, left - 1)
        }
        _ => module.to_vec(),
    }
}
