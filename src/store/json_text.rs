//! Changes single values of a JSON text and leaves every other byte as it is: order, spacing, spelling of numbers, and
//! what nobody here understands.

use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// A text that is one JSON object.
#[derive(Clone, PartialEq)]
pub(super) struct JsonText(Zeroizing<Vec<u8>>);

/// A member of an object, by its place in the text.
struct Member {
    name: Range<usize>,
    value: Range<usize>,
}

impl JsonText {
    /// An object without members, as programs begin one.
    pub(super) fn empty() -> Self {
        Self(Zeroizing::new(b"{}\n".to_vec()))
    }

    /// The text with its members as values; none if it is not one whole JSON object.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, Map<String, Value>)> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Some((Self(Zeroizing::new(bytes.to_vec())), members)),
            _ => None,
        }
    }

    /// The text as bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is a member at that path.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.place(path).is_some()
    }

    /// The value at that path.
    pub(super) fn value(&self, path: &[&str]) -> Option<Value> {
        serde_json::from_slice(self.slice(self.place(path)?)).ok()
    }

    fn place(&self, path: &[&str]) -> Option<Range<usize>> {
        let (name, above) = path.split_last()?;
        Some(self.member(self.object_at(above)?, name)?.value)
    }

    /// Replaces the value at that path, or adds it with the objects above it. An object on the way that is something
    /// else is replaced by one. Of several members of one name the last is meant, as parsers do.
    pub(super) fn set(&mut self, path: &[&str], value: &Value) {
        let Some((name, above)) = path.split_last() else {
            return;
        };
        let Some(object) = self.object_at(above) else {
            // One level more each time, up to the root, which is an object.
            self.set(above, &Value::Object(Map::new()));
            if self.object_at(above).is_some() {
                self.set(path, value);
            }
            return;
        };
        let text = Zeroizing::new(value.to_string());
        match self.member(object, name) {
            Some(member) => self.splice(member.value, text.as_bytes()),
            None => self.add(object, above, name, &text),
        }
    }

    /// Removes the member at that path, every one of that name.
    pub(super) fn remove(&mut self, path: &[&str]) {
        let Some((name, above)) = path.split_last() else {
            return;
        };
        while let Some(object) = self.object_at(above)
            && let Some(gap) = self.gap(object, name)
        {
            self.splice(gap, b"");
        }
    }

    /// The range to cut out for a member: the member itself, and the comma on one side of it.
    fn gap(&self, object: usize, name: &str) -> Option<Range<usize>> {
        let members = self.members(object);
        let at = self.position(&members, name)?;
        let end = members.get(at)?.value.end;
        if let Some(before) = at.checked_sub(1).and_then(|before| members.get(before)) {
            return Some(before.value.end..end);
        }
        Some(match members.get(1) {
            // The second one takes its place.
            Some(next) => members.first()?.name.start..next.name.start,
            None => object + 1..self.skip_blanks(end),
        })
    }

    fn add(&mut self, object: usize, above: &[&str], name: &str, value: &str) {
        let members = self.members(object);
        let mut new = Zeroizing::new(Vec::new());
        let at = if let Some(last) = members.last() {
            // In the style of its neighbours.
            let before = members
                .len()
                .checked_sub(2)
                .and_then(|index| members.get(index))
                .map_or(object + 1, |before| self.skip_blanks(before.value.end) + 1);
            new.push(b',');
            new.extend_from_slice(self.slice(before..last.name.start));
            new.extend(Value::from(name).to_string().bytes());
            new.extend_from_slice(self.slice(last.name.end..last.value.start));
            new.extend_from_slice(value.as_bytes());
            last.value.end..last.value.end
        } else {
            let outer = self.indentation(above);
            new.extend_from_slice(&outer);
            new.extend_from_slice(b"  ");
            new.extend(Value::from(name).to_string().bytes());
            new.extend_from_slice(b": ");
            new.extend_from_slice(value.as_bytes());
            new.extend_from_slice(&outer);
            object + 1..self.skip_blanks(object + 1)
        };
        self.splice(at, &new);
    }

    /// The line end and blanks before the member at that path; of the root, a line end alone.
    fn indentation(&self, path: &[&str]) -> Vec<u8> {
        let before = path
            .split_last()
            .and_then(|(name, above)| self.member(self.object_at(above)?, name))
            .map(|member| {
                let blanks = self
                    .slice(0..member.name.start)
                    .iter()
                    .rev()
                    .take_while(|byte| byte.is_ascii_whitespace())
                    .count();
                self.slice(member.name.start - blanks..member.name.start)
                    .to_vec()
            });
        before.unwrap_or_else(|| b"\n".to_vec())
    }

    /// Where the object at that path begins.
    fn object_at(&self, path: &[&str]) -> Option<usize> {
        let mut object = self.skip_blanks(0);
        for name in path {
            object = self.member(object, name)?.value.start;
            if self.at(object) != Some(b'{') {
                return None;
            }
        }
        Some(object)
    }

    fn member(&self, object: usize, name: &str) -> Option<Member> {
        let mut members = self.members(object);
        let at = self.position(&members, name)?;
        Some(members.swap_remove(at))
    }

    fn position(&self, members: &[Member], name: &str) -> Option<usize> {
        members.iter().rposition(|member| {
            let written: Result<Value, _> = serde_json::from_slice(self.slice(member.name.clone()));
            written.is_ok_and(|written| written == *name)
        })
    }

    /// The members of the object that begins there. The text is valid, so there is nothing to refuse here.
    fn members(&self, object: usize) -> Vec<Member> {
        let mut members = Vec::new();
        let mut at = self.skip_blanks(object + 1);
        while self.at(at) == Some(b'"') {
            let name = at..self.skip_value(at);
            // The colon.
            let start = self.skip_blanks(self.skip_blanks(name.end) + 1);
            let value = start..self.skip_value(start);
            let end = self.skip_blanks(value.end);
            members.push(Member { name, value });
            if self.at(end) != Some(b',') {
                break;
            }
            at = self.skip_blanks(end + 1);
        }
        members
    }

    /// The place after the value that begins there.
    fn skip_value(&self, start: usize) -> usize {
        let mut depth = 0_usize;
        let mut at = start;
        loop {
            at = match self.at(at) {
                Some(b'"') => self.skip_string(at),
                Some(b'{' | b'[') => {
                    depth += 1;
                    at + 1
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    at + 1
                }
                Some(b',' | b':') => at + 1,
                Some(byte) if byte.is_ascii_whitespace() => at + 1,
                Some(_) => self.skip(at, |byte| {
                    !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace()
                }),
                None => return at,
            };
            if depth == 0 {
                return at;
            }
        }
    }

    fn skip_string(&self, start: usize) -> usize {
        let mut at = start + 1;
        loop {
            at = match self.at(at) {
                Some(b'\\') => at + 2,
                Some(b'"') => return at + 1,
                Some(_) => at + 1,
                None => return at,
            };
        }
    }

    fn skip_blanks(&self, start: usize) -> usize {
        self.skip(start, |byte| byte.is_ascii_whitespace())
    }

    fn skip(&self, start: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut at = start;
        while self.at(at).is_some_and(&wanted) {
            at += 1;
        }
        at
    }

    fn at(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    fn splice(&mut self, range: Range<usize>, new: &[u8]) {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.0.len() + new.len()));
        bytes.extend_from_slice(self.slice(0..range.start));
        bytes.extend_from_slice(new);
        bytes.extend_from_slice(self.slice(range.end..self.0.len()));
        self.0 = bytes;
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonText(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn edited(text: &str, edit: impl FnOnce(&mut JsonText)) -> String {
        let (mut parsed, _) = JsonText::parse(text.as_bytes()).unwrap();
        edit(&mut parsed);
        String::from_utf8(parsed.bytes().to_vec()).unwrap()
    }

    #[test]
    fn replaces_a_value_and_nothing_else() {
        let text = "\t{ \"a\" :\r\n 1.50e+2,\"b\":{\"c\":[1, {\"d\":\"}\\\"\"}],\"t\":\"old\"} , \"z\" : null}\n\n";
        let new = edited(text, |text| text.set(&["b", "t"], &json!("new")));
        assert_eq!(new, text.replace("old", "new"));
        let new = edited(text, |text| text.set(&["z"], &json!(5)));
        assert_eq!(new, text.replace("null", "5"));
        let new = edited(text, |text| text.set(&["b", "c"], &json!([])));
        assert_eq!(new, text.replace("[1, {\"d\":\"}\\\"\"}]", "[]"));
    }

    #[test]
    fn the_last_of_several_members_is_meant_and_names_may_be_escaped() {
        let text = r#"{"a":1,"\u0061":2,"b":{"a":3}}"#;
        assert_eq!(
            edited(text, |text| text.set(&["a"], &json!(9))),
            r#"{"a":1,"\u0061":9,"b":{"a":3}}"#
        );
        assert_eq!(edited(text, |text| text.remove(&["a"])), r#"{"b":{"a":3}}"#);
    }

    #[test]
    fn adds_as_the_neighbours_are_written() {
        let pretty = "{\n    \"a\": 1,\n    \"b\": {}\n}\n";
        assert_eq!(
            edited(pretty, |text| text.set(&["c"], &json!("x"))),
            "{\n    \"a\": 1,\n    \"b\": {},\n    \"c\": \"x\"\n}\n"
        );
        assert_eq!(
            edited(pretty, |text| text.set(&["b", "c"], &json!("x"))),
            "{\n    \"a\": 1,\n    \"b\": {\n      \"c\": \"x\"\n    }\n}\n"
        );
        assert_eq!(
            edited(r#"{"a":1}"#, |text| text.set(&["b"], &json!(2))),
            r#"{"a":1,"b":2}"#
        );
        let mut new = JsonText::empty();
        new.set(&["version"], &json!(1));
        new.set(&["profiles", "a:b", "type"], &json!("oauth"));
        new.set(&["profiles", "a:b", "access"], &json!("x"));
        assert_eq!(
            std::str::from_utf8(new.bytes()).unwrap(),
            "{\n  \"version\": 1,\n  \"profiles\": {\n    \"a:b\": {\n      \"type\": \"oauth\",\n      \"access\": \"x\"\n    }\n  }\n}\n"
        );
    }

    #[test]
    fn removes_a_member_with_its_comma() {
        let text = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}";
        let without = |name| edited(text, |text| text.remove(&[name]));
        assert_eq!(without("a"), "{\n  \"b\": 2,\n  \"c\": 3\n}");
        assert_eq!(without("b"), "{\n  \"a\": 1,\n  \"c\": 3\n}");
        assert_eq!(without("c"), "{\n  \"a\": 1,\n  \"b\": 2\n}");
        assert_eq!(without("d"), text);
        assert_eq!(edited("{ \"a\": 1 }", |text| text.remove(&["a"])), "{}");
    }

    #[test]
    fn what_is_no_object_on_the_way_becomes_one() {
        assert_eq!(
            edited(r#"{"tokens":null}"#, |text| text
                .set(&["tokens", "access"], &json!("x"))),
            "{\"tokens\":{\n  \"access\": \"x\"\n}}"
                .replace("{\n  ", "{  ")
                .replace("\n}", "}")
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\],: \u{e9}\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object(inner),
            ]
        })
    }

    fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::vec(("[a-c\"]{0,2}", value), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    /// Applies the edit to the parsed value.
    fn apply(place: &mut Value, path: &[&str], new: Option<Value>) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        if !place.is_object() {
            if new.is_none() {
                return;
            }
            *place = json!({});
        }
        let members = place.as_object_mut().unwrap();
        match (rest.is_empty(), new) {
            (true, Some(new)) => drop(members.insert((*name).to_owned(), new)),
            (true, None) => drop(members.shift_remove(*name)),
            (false, None) => {
                if let Some(below) = members.get_mut(*name) {
                    apply(below, rest, None);
                }
            }
            (false, new) => {
                let below = members.entry(*name).or_insert_with(|| json!({}));
                apply(below, rest, new);
            }
        }
    }

    proptest! {
        /// A parser sees what was changed, and nothing else changed.
        #[test]
        fn an_edit_does_what_it_says(
            root in object(value()),
            pretty in any::<bool>(),
            path in prop::collection::vec("[a-c\"]{0,2}", 1..4),
            new in value(),
            removes in any::<bool>(),
        ) {
            let text = if pretty {
                serde_json::to_string_pretty(&root).unwrap()
            } else {
                root.to_string()
            };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let after = edited(&text, |text| {
                if removes { text.remove(&path) } else { text.set(&path, &new) }
            });
            let mut expected = root.clone();
            apply(&mut expected, &path, (!removes).then_some(new));
            let seen: Value = serde_json::from_str(&after).unwrap();
            prop_assert_eq!(seen, expected);
        }
    }
}
