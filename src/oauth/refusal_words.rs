//! Finds the subject of a refusal in its words. Servers send codes that do not fit; the words beside them show better
//! whether the login has ended, the request was wrong, or the server was only busy.

/// The subject of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The refresh token, or the grant, session or person behind it: no longer good.
    Login,
    /// The client's credentials, or what it may do.
    Client,
    /// Another parameter, or the way that the request took.
    Request,
    /// Nothing that is understood here.
    #[default]
    Unsaid,
}

/// A passing condition. Salesforce: `invalid_grant`, "token request is already being processed".
const BUSY: &str = concat!(
    " being processed| already processing| in progress| concurrent request| concurrent refresh|",
    " concurrent update| concurrent modification| concurrently| simultaneous| parallel request|",
    " another request| race condition| rate limit| ratelimit| rate exceeded| too many request|",
    " too many attempt| too many call| too many concurrent| throttl| overload| busy | temporarily|",
    " temporary error| temporary failure| transient| try again later| retry later| service unavailable|",
    " internal error| maintenance| quota exceeded| frequency limit| obtain lock| obtain a lock| acquire lock|",
    " acquire a lock| deadlock| database| not finished| retry the request| please retry|",
    " zu viele | später| trop de | réessay| demasiad| más tarde| mais tarde| muitas | слишком | позже|",
    "频繁|稍后|稍後|繁忙|处理中|處理中|混雑|しばらく|잠시|너무 많",
);

/// Words for a login that has ended, which outweigh a busy server.
const OVER: &str = " revoke| expired| terminated| reuse";

/// Words for a request that this client may not make.
const INABILITY: &str = concat!(
    " grant type| not authorized to| not authorised to| not allowed| not permitted| not supported|",
    " unsupported| not enabled",
);

const CLIENT: &str = " client| application| consumer key| api key| apikey";

/// Words for the proof of a client.
const CLIENT_PROOF: &str =
    " client secret| client authentication| client credential| client assertion| client id ";

const REQUEST: &str = concat!(
    " parameter| scope| resource| audience| redirect uri| content type| header| endpoint| route| method|",
    " origin| ip address| ip restrict| country| region| nonce| dpop| dpo p| verifier| user agent| csrf|",
    " xsrf| token type| json| request body",
);

/// The login, by the names that it has.
const LOGIN: &str = concat!(
    " token| session| grant | login| user| account| consent| credential| jwt| athlete| authorization |",
    " authorisation | auth | code | jeton| sitzung| anmeldung| sesión| sessão| токен| сесси|",
    "令牌|会话|會話|登录|登入|授权|授權|トークン|セッション|토큰|세션",
);

const REFRESH_TOKEN: &str = concat!(
    " refresh token| refreshtoken| offline token| aktualisierungstoken| actualisation| actualización|",
    " atualização| обновления|刷新令牌|更新權杖|更新トークン|リフレッシュトークン|갱신 토큰|리프레시 토큰",
);

/// Said of a login that no longer is one.
const ENDED: &str = concat!(
    " invalid| expir| revoke| unknown| not found| no such| not exist| t exist| no longer| inactive|",
    " not active| used| reuse| unrecogni| not recogni| not valid| t valid| not match| t match| mismatch|",
    " denied| ended| terminat| logged out| signed out| log in again| login again| sign in again|",
    " login required| consent required| reauth| re auth| deauthori| disabled| deactivat| suspended|",
    " blocked| locked| deleted| removed| withdrawn| rejected| wrong| incorrect| bad | malformed| decrypt|",
    " stale| superseded| ungültig| abgelaufen| widerrufen| invál| caduc| no es válid| révoqu| revoc| revog|",
    " недейств| истёк| истек| отозван|无效|無效|失效|过期|過期|撤销|撤銷|不存在|無効|切れ|失効|取り消|",
    "만료|유효하지|취소",
);

/// Said of the person's approval, whichever client had it.
const TAKEN_BACK: &str = " revoke| withdrawn| deauthori| session";

/// All that a refusal says, in lower case and as single words between spaces.
pub(super) struct Words(String);

impl Words {
    /// Splits the texts into words. Names of code (`RefreshToken`, `refresh_token`) become several words; paths are
    /// left out, because every token endpoint has "token" in its own.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        const LONGEST: usize = 2000;
        let mut words = String::from(" ");
        for text in texts {
            for word in text.split_whitespace() {
                let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '/');
                if bare.starts_with('/') || bare.contains(":/") || words.len() > LONGEST {
                    continue;
                }
                let mut after_small = false;
                for c in word.chars() {
                    if !c.is_alphanumeric() || (after_small && c.is_uppercase()) {
                        space(&mut words);
                    }
                    if c.is_alphanumeric() {
                        words.extend(c.to_lowercase());
                    }
                    after_small = c.is_lowercase();
                }
                space(&mut words);
            }
        }
        // The person, not what RFC 8707 calls a resource.
        Self(words.replace(" resource owner", " user"))
    }

    /// Phrases in one text, apart by `|`: a tenth of a table of texts in the binary.
    fn have(&self, phrases: &str) -> bool {
        phrases.split('|').any(|phrase| self.0.contains(phrase))
    }

    /// Whether the same request may fare better later.
    pub(super) fn are_busy(&self) -> bool {
        self.have(BUSY) && !self.have(OVER)
    }

    /// Whether the client's own proof was refused, and nothing else is spoken of.
    pub(super) fn are_of_client_proof(&self) -> bool {
        self.have(CLIENT_PROOF) && !self.have(" token| session| user")
    }

    /// Whether the words say that a part of the request is missing, other than the login.
    pub(super) fn are_of_something_missing(&self) -> bool {
        let missing = self.have(" missing| ip restrict") && self.have(REQUEST);
        missing && !self.have(REFRESH_TOKEN)
    }

    /// The subject of these words.
    pub(super) fn subject(&self) -> Subject {
        let has_ended = self.have(ENDED);
        if self.have(INABILITY) {
            return if self.have(CLIENT) {
                Subject::Client
            } else {
                Subject::Request
            };
        }
        if has_ended && self.have(REFRESH_TOKEN) {
            return Subject::Login;
        }
        if self.have(CLIENT) {
            let is_taken_back = self.have(TAKEN_BACK) && has_ended && self.have(LOGIN);
            return if is_taken_back {
                Subject::Login
            } else {
                Subject::Client
            };
        }
        if self.have(REQUEST) {
            return Subject::Request;
        }
        if has_ended && self.have(LOGIN) {
            return Subject::Login;
        }
        Subject::Unsaid
    }
}

fn space(words: &mut String) {
    if !words.ends_with(' ') {
        words.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words::of([text].into_iter())
    }

    #[test]
    fn a_login_that_has_ended_is_said_in_many_ways() {
        for text in [
            "session not found",
            "token expired",
            "Invalid refresh token",
            "Device Refresh Token does not exist",
            "refresh_token is invalid",
            "RefreshToken refresh_token invalid",
            "Value passed for the token was invalid.",
            "Invalid Token!",
            "expired access/refresh token",
            "Unknown or invalid refresh token.",
            "The refresh token doesn't exist",
            "Token was issued to another client, or the refresh token is unknown",
            "Refresh token was revoked by the application owner",
            "The user has deauthorized this application",
            "Your session has been terminated. Please sign in again.",
            "USER_DISABLED",
            "TokenInactive",
            "account_inactive",
            "invalid_code",
            "Cannot decrypt the refresh token",
            "The resource owner's consent was withdrawn",
            "Missing or invalid refresh token",
            "Refresh token is malformed",
            "Le jeton d'actualisation a expiré",
            "Das Aktualisierungstoken ist ungültig oder abgelaufen",
            "El token de actualización no es válido o ha caducado",
            "Token de atualização inválido",
            "Срок действия токена обновления истёк",
            "刷新令牌无效或已过期",
            "リフレッシュトークンが無効です",
            "리프레시 토큰이 만료되었습니다",
        ] {
            assert_eq!(words(text).subject(), Subject::Login, "{text}");
            assert!(!words(text).are_busy(), "{text}");
        }
    }

    #[test]
    fn what_no_login_cures_is_not_about_the_login() {
        for text in [
            "Missing parameter: resource",
            "Missing required parameter: refresh_token",
            "Invalid value of the parameter `audience`",
            "Route POST:/oauth/token not found",
            "The requested resource was not found",
            "Invalid authorization header",
            "Your IP address is blocked",
            "DPoP proof of the token is invalid",
            "The grant type refresh_token is not supported",
            "Invalid CSRF token",
            "Paramètre manquant : audience",
            "缺少参数 audience",
        ] {
            assert_eq!(words(text).subject(), Subject::Request, "{text}");
        }
        for text in [
            "Client authentication failed",
            "invalid client secret",
            "Unknown client",
            "Application client_id invalid",
            "Client is not allowed to use the grant type refresh_token",
            "The client is not authorized to use refresh tokens",
            "Invalid API key",
        ] {
            assert_eq!(words(text).subject(), Subject::Client, "{text}");
        }
        for text in [
            "",
            "Bad Request",
            "Forbidden",
            "Missing Authentication Token",
            "error code: 1010",
            "客户端认证失败",
        ] {
            assert_eq!(words(text).subject(), Subject::Unsaid, "{text}");
        }
    }

    #[test]
    fn a_busy_server_is_known_by_its_words() {
        for text in [
            "token request is already being processed",
            "A refresh of this token is in progress",
            "login rate exceeded",
            "ratelimited",
            "rate_limit_exceeded",
            "Too many requests",
            "TooManyRequests",
            "AADSTS90033: A transient error has occurred. Please try again.",
            "Account temporarily disabled",
            "Two concurrent requests with the same refresh token",
            "Could not obtain lock on the refresh token",
            "The previous refresh request has not finished yet",
            "Quota exceeded",
            "The service is under maintenance",
            "请求过于频繁，请稍后再试",
            "Zu viele Anfragen",
        ] {
            assert!(words(text).are_busy(), "{text}");
        }
        for text in [
            "Token revoked: too many requests",
            "Maximum number of concurrent sessions: the session was terminated",
            "Refresh token reuse detected: used concurrently",
            "Please log in and try again",
        ] {
            assert!(!words(text).are_busy(), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_read_in_part() {
        let long = "x".repeat(10) + " ";
        assert!(words(&long.repeat(10_000)).0.len() < 3000);
    }
}
