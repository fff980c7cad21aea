//! A second reader of JSON, which keeps members that are there twice. Ordinary readers drop one of them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A document with all members of its objects, in order.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// Reads a whole text.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The values for a reader that takes the first member of a name, and for one that takes the last.
    pub(super) fn first_and_last(&self, name: &str) -> (Option<&Self>, Option<&Self>) {
        let Self::Object(members) = self else { return (None, None) };
        let mut named = members.iter().filter(|(own, _)| own == name).map(|(_, value)| value);
        let first = named.next();
        (first, named.next_back().or(first))
    }

    /// True if some object in it has two members of one name.
    pub(super) fn names_twice(&self) -> bool {
        match self {
            Self::List(values) => values.iter().any(Self::names_twice),
            Self::Object(members) => {
                let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
                names.sort();
                names.windows(2).any(|pair| pair.first() == pair.last())
                    || members.iter().any(|(_, value)| value.names_twice())
            }
            _ => false,
        }
    }

    /// A string, or an integer as its decimal text.
    pub(super) fn identifier(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }

    /// A number, floored.
    pub(super) fn whole(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64().map(f64::floor),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Number::from_f64(value).map_or(Tree::Null, Tree::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element()? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Tree::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn members_that_are_there_twice_are_kept() {
        let tree = Tree::read(br#"{"sub":"a","x":[{"y":1}],"sub":"b"}"#).unwrap();
        assert!(tree.names_twice());
        assert_eq!(tree.first_and_last("sub"), (Some(&Tree::Text("a".into())), Some(&Tree::Text("b".into()))));
        let tree = Tree::read(br#"{"x":[{"y":1,"\u0079":2}]}"#).unwrap();
        assert!(tree.names_twice());
        assert!(!Tree::read(br#"{"x":[{"y":1},{"y":1}]}"#).unwrap().names_twice());
    }
}
