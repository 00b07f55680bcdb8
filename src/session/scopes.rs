//! Whether a scope was granted: servers return what they were asked for under other names.

/// The claims of `OpenID` Connect Core §5.4, which Google names by URLs.
const CLAIMS: [&str; 4] = ["profile", "email", "address", "phone"];
/// The scopes that ask for a refresh token. Servers often do not list them as granted; the refresh token shows the
/// grant. Core §11; Ory Hydra; X.
const OFFLINE: [&str; 3] = ["offline_access", "offline", "offline.access"];

/// Whether the wanted scope is among the granted ones, under any of its names.
pub(super) fn is_granted(wanted: &str, granted: &[String], is_refreshable: bool) -> bool {
    if is_refreshable && OFFLINE.contains(&wanted) {
        return true;
    }
    // Entra: `<resource>/.default` means all consented scopes, and those are listed instead.
    if wanted.ends_with("/.default") {
        return !granted.is_empty();
    }
    let mut parts = wanted.split(',').filter(|part| !part.is_empty());
    parts.all(|part| {
        granted
            .iter()
            .flat_map(|scope| std::iter::once(scope.as_str()).chain(scope.split(',')))
            .any(|scope| covers(scope, wanted) || covers(scope, part))
    })
}

fn covers(granted: &str, wanted: &str) -> bool {
    let (granted, wanted) = (granted.trim_end_matches('/'), wanted.trim_end_matches('/'));
    // Some servers answer in another case.
    if granted.eq_ignore_ascii_case(wanted) {
        return true;
    }
    // GitHub lists `user` for `user:email`, which it holds.
    let is_part = wanted
        .strip_prefix(granted)
        .is_some_and(|rest| !granted.is_empty() && rest.starts_with(':'));
    is_part
        || match (is_uri(granted), is_uri(wanted)) {
            (true, false) => names(granted, wanted),
            (false, true) => names(wanted, granted),
            _ => false,
        }
}

fn is_uri(scope: &str) -> bool {
    scope.contains("://")
}

/// Whether a URI is the long form of that name: `https://graph.microsoft.com/User.Read`,
/// `https://www.googleapis.com/auth/userinfo.email`.
fn names(uri: &str, name: &str) -> bool {
    let last = uri.rsplit('/').next().unwrap_or_default();
    let claim = || last.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case(name) || (CLAIMS.contains(&name) && claim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(wanted: &str, listed: &str) -> bool {
        let listed: Vec<String> = listed.split(' ').map(str::to_owned).collect();
        is_granted(wanted, &listed, true)
    }

    #[test]
    fn a_scope_is_known_by_its_other_names() {
        for (wanted, listed) in [
            (
                "email",
                "openid https://www.googleapis.com/auth/userinfo.email",
            ),
            (
                "profile",
                "https://www.googleapis.com/auth/userinfo.profile",
            ),
            ("https://www.googleapis.com/auth/userinfo.email", "email"),
            ("https://mail.google.com/", "https://mail.google.com"),
            ("https://graph.microsoft.com/User.Read", "profile User.Read"),
            ("User.Read", "https://graph.microsoft.com/user.read"),
            ("api://1234/access_as_user", "access_as_user"),
            (
                "https://graph.microsoft.com/.default",
                "https://graph.microsoft.com/Mail.Read",
            ),
            ("offline_access", "memory"),
            ("offline.access", "tweet.read"),
            ("user:email", "gist,user"),
            ("repo,gist", "repo gist"),
            ("read", "read,write"),
            ("Memory", "memory"),
        ] {
            assert!(granted(wanted, listed), "{wanted} in {listed}");
        }
    }

    #[test]
    fn what_is_not_granted_is_missing() {
        for (wanted, listed) in [
            ("email", "openid profile"),
            ("email", "https://example.com/auth/emails"),
            ("read", "https://api.example/files.read"),
            ("https://a.example/read", "https://b.example/read"),
            ("user", "user:email"),
            ("username", "user"),
            ("repo,gist", "repo"),
        ] {
            assert!(!granted(wanted, listed), "{wanted} in {listed}");
        }
        assert!(!is_granted("offline_access", &["memory".to_owned()], false));
        assert!(!is_granted("api://x/.default", &[], true));
    }
}
