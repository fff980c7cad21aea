//! The paths that a source file names, read from its tokens: comments and strings name nothing.

use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path as the file writes it, such as `super::log::Position`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    /// The module that the path is written in, from the root of the package.
    pub(super) by: Vec<String>,
    pub(super) path: Vec<String>,
    /// The name that a `use` gives it.
    pub(super) name: Option<String>,
}

/// What a file names, except in code that is compiled only for tests.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) paths: Vec<Named>,
    /// Modules in files of their own that are compiled only for tests.
    pub(super) test_modules: Vec<Vec<String>>,
}

impl Names {
    /// Reads a file that holds this module.
    ///
    /// # Errors
    /// If the text is not Rust.
    pub(super) fn read(text: &str, module: &[String]) -> Result<Self> {
        let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
        let mut names = Self::default();
        names.walk(tokens, module);
        Ok(names)
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = match (first, after) {
                (hash, [TokenTree::Group(attribute), item @ ..]) if is(hash, "#") && is_for_tests(attribute) => {
                    self.skip_item(item, module)
                }
                (word, [TokenTree::Ident(name), TokenTree::Group(body), after @ ..]) if is(word, "mod") => {
                    self.walk(body.stream(), &[module, &[name.to_string()]].concat());
                    after
                }
                (word, tree) if is(word, "use") => {
                    let end = tree.iter().position(|token| is(token, ";")).unwrap_or(tree.len());
                    let (tree, after) = tree.split_at(end);
                    self.tree(tree, Vec::new(), module);
                    after
                }
                (TokenTree::Ident(_), _) if is_root(first) && starts_with_colons(after) => self.path(rest, module),
                (TokenTree::Group(group), _) => {
                    self.walk(group.stream(), module);
                    after
                }
                _ => after,
            };
        }
    }

    /// Passes over the item after `#[cfg(test)]`.
    fn skip_item<'a>(&mut self, mut rest: &'a [TokenTree], module: &[String]) -> &'a [TokenTree] {
        while let Some((first, after)) = rest.split_first() {
            if let (true, [TokenTree::Ident(name), end, ..]) = (is(first, "mod"), after)
                && is(end, ";")
            {
                self.test_modules.push([module, &[name.to_string()]].concat());
            }
            rest = after;
            let is_body = matches!(first, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            if is_body || is(first, ";") {
                break;
            }
        }
        rest
    }

    /// Takes a path in an expression or a type.
    fn path<'a>(&mut self, mut rest: &'a [TokenTree], module: &[String]) -> &'a [TokenTree] {
        let line = rest.first().map_or(0, |token| token.span().start().line);
        let mut path = Vec::new();
        while let [TokenTree::Ident(segment), after @ ..] = rest {
            path.push(segment.to_string());
            rest = after;
            if !starts_with_colons(after) {
                break;
            }
            rest = after.get(2..).unwrap_or_default();
        }
        self.paths.push(Named { line, by: module.to_vec(), path, name: None });
        rest
    }

    /// Takes the tree of a `use`, below the path before it.
    fn tree(&mut self, tokens: &[TokenTree], before: Vec<String>, module: &[String]) {
        for tree in tokens.split(|token| is(token, ",")) {
            let (mut path, mut name) = (before.clone(), None);
            let mut words = tree.iter();
            while let Some(token) = words.next() {
                match token {
                    TokenTree::Ident(word) if word == "as" => name = words.next().map(ToString::to_string),
                    // `a::{self}` is `a`.
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Group(group) => {
                        self.tree(&group.stream().into_iter().collect::<Vec<_>>(), path.clone(), module)
                    }
                    _ => {}
                }
            }
            let has_group = tree.iter().any(|token| matches!(token, TokenTree::Group(_)));
            if let (false, Some(first)) = (has_group, tree.first()) {
                let name = name.or_else(|| path.last().cloned());
                self.paths.push(Named { line: first.span().start().line, by: module.to_vec(), path, name });
            }
        }
    }
}

fn is(token: &TokenTree, text: &str) -> bool {
    match token {
        TokenTree::Ident(word) => word == text,
        TokenTree::Punct(sign) => text.len() == 1 && text.starts_with(sign.as_char()),
        _ => false,
    }
}

/// True for the words that a path from this package begins with.
fn is_root(token: &TokenTree) -> bool {
    ["crate", "super", "self"].iter().any(|word| is(token, word))
}

fn starts_with_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is(first, ":") && is(second, ":"))
}

/// True for `[cfg(test)]`.
fn is_for_tests(attribute: &Group) -> bool {
    attribute.delimiter() == Delimiter::Bracket && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let names = Names::read(text, &["own".to_owned()]).unwrap();
        names.paths.iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn trees_of_uses_are_taken_apart() {
        assert_eq!(
            paths("use crate::{a, b::{self, C as D}, e::*};\nuse super::f;"),
            ["crate::a", "crate::b", "crate::b::C", "crate::e", "super::f"]
        );
    }

    #[test]
    fn paths_in_code_and_in_macros_are_found() {
        assert_eq!(
            paths("fn f(x: &crate::a::B<super::C>) { vec![self::d(), $crate::e::f!()]; other::g() }"),
            ["crate::a::B", "super::C", "self::d", "crate::e::f"]
        );
    }

    #[test]
    fn a_module_inside_the_file_is_a_module_of_its_own() {
        let names = Names::read("mod inner {\n use super::x;\n}", &[]).unwrap();
        let own = |text: &str| vec![text.to_owned()];
        let path = vec!["super".to_owned(), "x".to_owned()];
        assert_eq!(names.paths, [Named { line: 2, by: own("inner"), path, name: Some("x".to_owned()) }]);
    }
}
