//! JavaScript objects as JSON values, for the one parser of each options object.

use napi::bindgen_prelude::{FromNapiValue, JsObjectValue, Object, Unknown};
use napi::{JsValue, ValueType};
use serde_json::{Map, Number, Value};

use crate::error::Error;
use crate::session::config::{invalid, known_names};

/// Deeper than any configuration, and shallow enough for a cycle to end.
const DEEPEST: usize = 32;

/// An argument as a JSON value, null where it was left out.
pub(super) fn json(argument: &Unknown<'_>, name: &str) -> Result<Value, Error> {
    value(argument, name, DEEPEST)
}

/// The members of an argument that must be an object; none where it may be and was left out.
pub(super) fn object(argument: &Unknown<'_>, name: &str) -> Result<Map<String, Value>, Error> {
    match json(argument, name)? {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Map::new()),
        _ => Err(invalid(format!("`{name}` must be an object."))),
    }
}

/// Checks the names and types of a call's second argument: functions, an `AbortSignal`, or a string.
pub(super) fn check(options: &Unknown<'_>, known: &[Known]) -> Result<(), Error> {
    let unreadable = |_| invalid("The options cannot be read.");
    let object = match options.get_type().map_err(unreadable)? {
        ValueType::Undefined => None,
        ValueType::Object => Some(options.coerce_to_object().map_err(unreadable)?),
        _ => return Err(invalid("The options must be an object.")),
    };
    if let Some(object) = &object {
        let names = Object::keys(object).map_err(unreadable)?;
        let known_ones: Vec<&str> = known.iter().map(|option| option.name).collect();
        known_names(names.iter().map(String::as_str), &known_ones, "option")?;
    }
    for option in known {
        let given = match &object {
            Some(object) => object
                .get_named_property_unchecked::<Unknown<'_>>(option.name)
                .and_then(|value| Ok((value.get_type()?, value)))
                .map_err(unreadable)?,
            None if option.required => {
                return Err(invalid(format!(
                    "`{}` is missing: it must be {}.",
                    option.name,
                    option.wanted()
                )));
            }
            None => continue,
        };
        let fits = match (given.0, option.kind) {
            (ValueType::Undefined, _) => !option.required,
            (ValueType::Function, Kind::Function)
            | (ValueType::String, Kind::Text)
            | (ValueType::Boolean, Kind::Flag)
            // Its contents are checked by their reader.
            | (ValueType::Object, Kind::List) => true,
            (ValueType::Object, Kind::Signal) => given
                .1
                .coerce_to_object()
                .and_then(|signal| {
                    signal.get_named_property_unchecked::<Unknown<'_>>("addEventListener")
                })
                .and_then(|listen| listen.get_type())
                .is_ok_and(|listen| listen == ValueType::Function),
            _ => false,
        };
        if !fits {
            return Err(invalid(format!(
                "`{}` must be {}.",
                option.name,
                option.wanted()
            )));
        }
    }
    Ok(())
}

/// The string of that name, in an object that was checked.
pub(super) fn text_member(options: &Unknown<'_>, name: &str) -> Result<Option<String>, Error> {
    let unreadable = |_| invalid("The options cannot be read.");
    if options.get_type().map_err(unreadable)? == ValueType::Undefined {
        return Ok(None);
    }
    let member: Unknown<'_> = options
        .coerce_to_object()
        .and_then(|options| options.get_named_property_unchecked(name))
        .map_err(unreadable)?;
    match member.get_type().map_err(unreadable)? {
        ValueType::String => text(&member).map(Some).map_err(unreadable),
        _ => Ok(None),
    }
}

/// A member that an options object may have.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Function,
    Signal,
    Text,
    Flag,
    List,
}

pub(super) const SIGNAL: Known = Known {
    name: "signal",
    kind: Kind::Signal,
    required: false,
};

impl Known {
    fn wanted(&self) -> &'static str {
        match self.kind {
            Kind::Function => "a function",
            Kind::Signal => "an AbortSignal",
            Kind::Text => "a string",
            Kind::Flag => "true or false",
            Kind::List => "an array of strings",
        }
    }
}

/// Reads a member of checked options; undefined where it is absent.
pub(super) fn member<'a>(options: &Unknown<'a>, name: &str) -> Result<Option<Unknown<'a>>, Error> {
    let unreadable = |_| invalid("The options cannot be read.");
    if options.get_type().map_err(unreadable)? == ValueType::Undefined {
        return Ok(None);
    }
    let member: Unknown<'_> = options
        .coerce_to_object()
        .and_then(|options| options.get_named_property_unchecked(name))
        .map_err(unreadable)?;
    let is_there = member.get_type().map_err(unreadable)? != ValueType::Undefined;
    Ok(is_there.then_some(member))
}

fn value(given: &Unknown<'_>, path: &str, depth: usize) -> Result<Value, Error> {
    let unreadable = |_| invalid(format!("`{path}` cannot be read."));
    let unfit = |what| {
        Err(invalid(format!(
            "`{path}` is {what}, which is no value for an option."
        )))
    };
    Ok(match given.get_type().map_err(unreadable)? {
        // An array's hole, or the whole argument left out.
        ValueType::Undefined | ValueType::Null => Value::Null,
        ValueType::Boolean => Value::Bool(given.coerce_to_bool().map_err(unreadable)?),
        ValueType::Number => {
            let number = given
                .coerce_to_number()
                .and_then(|number| number.get_double())
                .map_err(unreadable)?;
            match Number::from_f64(number) {
                Some(number) => Value::Number(number),
                None => return unfit("not a finite number"),
            }
        }
        ValueType::String => Value::String(text(given).map_err(unreadable)?),
        ValueType::Object if depth == 0 => return unfit("too deeply nested"),
        ValueType::Object => {
            let object = given.coerce_to_object().map_err(unreadable)?;
            if object.is_array().map_err(unreadable)? {
                let length = object.get_array_length().map_err(unreadable)?;
                // Of an array that claims to be huge, no more than that is believed.
                let mut items = Vec::with_capacity(length.min(32) as usize);
                for index in 0..length {
                    let item: Unknown<'_> = object.get_element(index).map_err(unreadable)?;
                    items.push(value(&item, path, depth - 1)?);
                }
                Value::Array(items)
            } else {
                members(&object, path, depth)?
            }
        }
        ValueType::Function => return unfit("a function"),
        ValueType::Symbol => return unfit("a symbol"),
        ValueType::BigInt => return unfit("a bigint"),
        _ => return unfit("of a foreign type"),
    })
}

fn members(object: &Object<'_>, path: &str, depth: usize) -> Result<Value, Error> {
    let unreadable = |_| invalid(format!("`{path}` cannot be read."));
    let mut members = Map::new();
    for name in Object::keys(object).map_err(unreadable)? {
        let member: Unknown<'_> = object
            .get_named_property_unchecked(&name)
            .map_err(unreadable)?;
        if member.get_type().map_err(unreadable)? != ValueType::Undefined {
            let member = value(&member, &name, depth - 1)?;
            members.insert(name, member);
        }
    }
    Ok(Value::Object(members))
}

/// The string of a value that is one.
pub(super) fn text(value: &Unknown<'_>) -> napi::Result<String> {
    String::from_unknown(*value)
}
