//! Cleans a server's text, which is not trusted on a terminal, in a browser, or with secrets that were sent to it.

use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::secret::Secret;

const DESCRIPTION_LENGTH: usize = 300;
const URL_LENGTH: usize = 2048;
const REMOVED: &str = "[removed]";

/// The secrets of one exchange, to be taken out of what the server says about it.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Secret>);

impl Secrets {
    /// Cleans text of those secrets.
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut known = Self::default();
        for secret in secrets {
            known.add(secret);
        }
        known
    }

    /// One more.
    pub(crate) fn add(&mut self, secret: Secret) {
        const SHORTEST: usize = 4;
        // Anything shorter is no secret, and taking it out would garble the text.
        if secret.expose().len() >= SHORTEST {
            self.0.push(secret);
        }
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// A description for a person: one line, visible characters only, no secret, at most 300 characters.
    pub(crate) fn description(&self, text: &str) -> Option<String> {
        // Removed before cutting: a secret cut in half would not be recognised.
        let text = self.without_secrets(&single_line(text));
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if text.chars().count() <= DESCRIPTION_LENGTH {
            return Some(text.to_owned());
        }
        let cut: String = text.chars().take(DESCRIPTION_LENGTH).collect();
        Some(cut + "…")
    }

    /// A URL from a server for a person to open, unless it gives a secret away.
    pub(crate) fn url(&self, text: &str) -> Option<String> {
        let url = safe_url(text)?;
        (self.without_secrets(&url) == url).then_some(url)
    }

    fn without_secrets(&self, text: &str) -> String {
        let mut secrets: Vec<&Secret> = self.0.iter().collect();
        // Longest first: one secret may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        let mut text = text.to_owned();
        for secret in secrets {
            let plain = secret.expose();
            let encoded: Zeroizing<String> =
                Zeroizing::new(form_urlencoded::byte_serialize(plain.as_bytes()).collect());
            for form in [plain, encoded.as_str()] {
                if text.contains(form) {
                    text = text.replace(form, REMOVED);
                }
            }
        }
        text
    }
}

/// Removes control, bidi, format and other invisible characters; line breaks become spaces.
pub(crate) fn single_line(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' | '\u{85}' => Some(' '),
            c if is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Removes what [`single_line`] removes, and line breaks as well.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).collect()
}

/// An http(s) URL without userinfo, in ASCII, as it may be printed and opened.
pub(crate) fn safe_url(text: &str) -> Option<String> {
    let text = visible(text);
    let text = text.trim();
    let url = Url::parse(text).ok()?;
    let is_safe = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.as_str().len() <= URL_LENGTH;
    if !is_safe {
        return None;
    }
    // The server's spelling where that is equivalent; a parser's spelling where other programs could read it
    // differently.
    let is_canonical = url.as_str().strip_suffix('/').unwrap_or(url.as_str())
        == text.strip_suffix('/').unwrap_or(text);
    Some(if is_canonical {
        text.to_owned()
    } else {
        url.into()
    })
}

/// Unicode categories Cc, Cf, Zl and Zp, and invisible letters: characters that can reorder or hide text on a
/// terminal.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_tricks_are_stripped() {
        let hostile =
            "ok\u{1b}[31m red\u{7}\r\nnext\u{202e}evil\u{200b}\u{feff}\u{e0041}\u{9b}2J\u{2028}end";
        let secrets = Secrets::default();
        assert_eq!(
            secrets.description(hostile).unwrap(),
            "ok[31m red  nextevil2J end"
        );
        assert_eq!(secrets.description("\u{200b}\n "), None);
        assert_eq!(visible("AB\nCD\u{202e}-E"), "ABCD-E");
    }

    #[test]
    fn descriptions_are_cut_at_characters() {
        let long = Secrets::default().description(&"é".repeat(1000)).unwrap();
        assert_eq!(long.chars().count(), 301);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn the_exchanges_own_secrets_are_removed() {
        let secrets = Secrets::new([
            Secret::from("code+/=1"),
            Secret::from("code+/=1-longer"),
            Secret::from("abc"),
        ]);
        assert_eq!(
            secrets
                .description("bad code+/=1-longer, code%2B%2F%3D1, co\u{200b}de+/=1; abc")
                .unwrap(),
            "bad [removed], [removed], [removed]; abc"
        );
        let cut = "x".repeat(DESCRIPTION_LENGTH - 4) + "code+/=1";
        assert!(!secrets.description(&cut).unwrap().contains("code"));
        assert_eq!(secrets.url("https://a.example/?c=code%2B%2F%3D1"), None);
        assert!(secrets.url("https://a.example/help").is_some());
    }

    #[test]
    fn only_plain_http_urls_pass() {
        for (given, shown) in [
            ("https://a.example/device", Some("https://a.example/device")),
            ("https://a.example", Some("https://a.example")),
            ("https://a.example/", Some("https://a.example/")),
            (
                "http://localhost:1234/d?user_code=A-B",
                Some("http://localhost:1234/d?user_code=A-B"),
            ),
            (
                " https://a.example/d\u{202e}\n",
                Some("https://a.example/d"),
            ),
            ("https://a.example/ü", Some("https://a.example/%C3%BC")),
            (
                "https:\\\\a.example\\@b.example",
                Some("https://a.example/@b.example"),
            ),
            ("HTTPS://A.example/d", Some("https://a.example/d")),
            ("https://google.com@evil.example/", None),
            ("https://:p@evil.example/", None),
            ("javascript:alert(1)", None),
            ("file:///etc/passwd", None),
            ("data:text/html,x", None),
            ("/device", None),
            ("", None),
        ] {
            assert_eq!(safe_url(given).as_deref(), shown, "{given:?}");
        }
        assert_eq!(
            safe_url(&format!("https://a.example/{}", "x".repeat(3000))),
            None
        );
    }
}
