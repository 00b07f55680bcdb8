//! Reads the challenge of a protected resource to a request with no token or too small a scope (RFC 9110 §11.6.1, RFC
//! 6750 §3).

/// One challenge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme, such as `Bearer`.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The parameter of that name, in lower case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(known, _)| known == name)?;
        Some(value)
            .filter(|value| !value.is_empty())
            .map(String::as_str)
    }

    /// Whether an access token is an answer to it: RFC 6750 §3, RFC 9449 §7.1.
    pub(crate) fn wants_a_token(&self) -> bool {
        ["bearer", "dpop"].contains(&self.scheme.to_ascii_lowercase().as_str())
    }

    /// `scope`
    pub(crate) fn scopes(&self) -> Vec<String> {
        let scopes = self.parameter("scope").unwrap_or_default();
        scopes
            .split(' ')
            .filter(|scope| is_scope(scope))
            .map(str::to_owned)
            .collect()
    }
}

/// Reads the challenges of a header. Unreadable ones are left out.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    for item in items(header) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let (scheme, name) = match name.trim().split_once([' ', '\t']) {
            // "Bearer realm", of which a parameter follows.
            Some((scheme, name)) => (scheme, name.trim()),
            None if !item.contains('=') => (item, ""),
            None => ("", name.trim()),
        };
        if !scheme.is_empty() {
            found.push(Challenge {
                scheme: scheme.to_owned(),
                parameters: Vec::new(),
            });
        }
        if let Some(challenge) = found.last_mut()
            && !name.is_empty()
        {
            let parameter = (name.to_ascii_lowercase(), unquoted(value.trim()));
            challenge.parameters.push(parameter);
        }
    }
    found
}

/// The parts between commas that stand in no quotes.
fn items(header: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = header.split(move |c| {
        let is_end = c == ',' && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        is_end
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut is_escaped = false;
    let text = quoted.strip_suffix('"').unwrap_or(quoted).chars();
    text.filter(|c| {
        is_escaped = *c == '\\' && !is_escaped;
        !is_escaped
    })
    .collect()
}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`
pub(crate) fn is_scope(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Vec<(String, Vec<(String, String)>)> {
        let found = challenges(header).into_iter();
        found
            .map(|challenge| (challenge.scheme, challenge.parameters))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn challenges_as_servers_send_them() {
        for (header, expected) in [
            ("Bearer", vec![("Bearer", vec![])]),
            (
                // mcp 2.3.0
                r#"Bearer error="invalid_token", error_description="Authentication required, or \"not\"", resource_metadata="https://a.example/x""#,
                vec![(
                    "Bearer",
                    vec![
                        ("error", "invalid_token"),
                        ("error_description", "Authentication required, or \"not\""),
                        ("resource_metadata", "https://a.example/x"),
                    ],
                )],
            ),
            (
                r#"Basic realm="a, b", DPoP algs="ES256 ES384",error=invalid_token , Negotiate a87421000000==, bearer scope="a b""#,
                vec![
                    ("Basic", vec![("realm", "a, b")]),
                    (
                        "DPoP",
                        vec![("algs", "ES256 ES384"), ("error", "invalid_token")],
                    ),
                    ("Negotiate", vec![("a87421000000", "=")]),
                    ("bearer", vec![("scope", "a b")]),
                ],
            ),
            (
                "Bearer, Basic  realm = \"x\"",
                vec![("Bearer", vec![]), ("Basic", vec![("realm", "x")])],
            ),
            (
                r#"BEARER Scope="a\\,b" , "unended"#,
                vec![("BEARER", vec![("scope", "a\\,b")]), ("\"unended", vec![])],
            ),
            ("error=\"x\"", vec![]),
            (",, ,", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(scheme, parameters)| (scheme.to_owned(), pairs(&parameters)))
                .collect();
            assert_eq!(read(header), expected, "{header}");
        }
    }

    #[test]
    fn scopes_are_taken_only_where_they_can_be_sent_again() {
        let of = |header| challenges(header).first().map(Challenge::scopes);
        assert_eq!(of(r#"Bearer scope="a  b:c""#).unwrap(), ["a", "b:c"]);
        assert_eq!(of("Bearer scope=\"a\u{e9} \\\"x b\"").unwrap(), ["b"]);
        assert!(of("Bearer").unwrap().is_empty());
    }
}
