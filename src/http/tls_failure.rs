//! Why no TLS connection came about, in words that a person can act on: never the name of a Rust type.

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::FailureKind;

/// A failed handshake.
pub(super) struct TlsFailure {
    /// A certificate's; one of TLS, where no later try can succeed; else a transient one.
    pub(super) kind: FailureKind,
    /// The problem, as a part of a sentence with the server or its certificate as its subject.
    pub(super) what: String,
    /// The next step, as a sentence; empty for a transient problem.
    pub(super) next: String,
}

const OPERATOR: &str = "Tell the server's operator.";
const CLOCK: &str = "Set this machine's clock if it is wrong; else the server's operator has to renew the certificate.";
const REISSUE: &str = "The server's operator has to get a new one, with CA:FALSE and the host name in subjectAltName.";
const FOR_CLIENTS: &str = "it was not issued for a server (extendedKeyUsage has no serverAuth)";
/// The error of rustls-platform-verifier for the same certificate.
const NO_SERVER: &str = "certificate had invalid extensions";
const NO_TLS: &str = "what answers there does not speak TLS (the port of plain HTTP, or a network that wants you to sign in first)";
const CHECK_PORT: &str = "Check the host and port of the configured URL, and the proxy settings.";
const NOTHING_IN_COMMON: &str = "the server accepts no TLS version and cipher that this program has, or it wants a client certificate";
const ALLOW: &str = "The server's operator has to allow TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM, without client certificates.";
const CLIENT_CERTIFICATE: &str =
    "the server wants a client certificate, which this program does not have";

impl TlsFailure {
    /// Explains an error. `named` is the environment variable with further trusted certificates, where it is set.
    pub(super) fn read(error: &Error, named: Option<&str>) -> Self {
        let tls = |what: &str, next: &str| Self {
            kind: FailureKind::Tls,
            what: what.to_owned(),
            next: next.to_owned(),
        };
        match error {
            Error::InvalidCertificate(problem) => {
                let (what, next) = certificate(problem, named);
                Self {
                    kind: FailureKind::Certificate,
                    what,
                    next,
                }
            }
            Error::AlertReceived(alert) => match alert {
                // RFC 8446 §6.2; servers that want a certificate in TLS 1.2 say handshake_failure as well.
                AlertDescription::HandshakeFailure
                | AlertDescription::InsufficientSecurity
                | AlertDescription::ProtocolVersion => tls(NOTHING_IN_COMMON, ALLOW),
                AlertDescription::UnrecognisedName => {
                    tls("the server knows no site of that name", CHECK_PORT)
                }
                AlertDescription::NoApplicationProtocol => {
                    tls("the server does not speak HTTP/1.1", OPERATOR)
                }
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => tls(CLIENT_CERTIFICATE, ALLOW),
                other => transient(&format!(
                    "the server ended the TLS handshake (alert {})",
                    u8::from(*other)
                )),
            },
            Error::PeerIncompatible(_) => tls(NOTHING_IN_COMMON, ALLOW),
            Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => transient(NO_TLS),
            Error::NoCertificatesPresented => tls("the server sent no certificate", OPERATOR),
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_) => tls(
                "the server, or something on the way to it, breaks the rules of TLS",
                OPERATOR,
            ),
            Error::DecryptError => transient("the TLS connection was damaged on the way"),
            // The words of the operating system's verifier.
            Error::General(words) => transient(&format!("TLS failed ({words})")),
            _ => transient("TLS failed"),
        }
    }
}

/// Windows has a text for such a number only in some of its languages and parts.
#[cfg(windows)]
fn of_windows(error: Option<&std::io::Error>) -> (String, String) {
    let code = error.and_then(std::io::Error::raw_os_error);
    match code.unwrap_or_default().cast_unsigned() {
        // CERT_E_REVOCATION_FAILURE, CRYPT_E_REVOCATION_OFFLINE, CRYPT_E_NO_REVOCATION_CHECK
        0x800B_010E | 0x8009_2013 | 0x8009_2012 => (
            "its authority could not be asked whether it was revoked".to_owned(),
            "Let this machine reach that authority over http, then try again.".to_owned(),
        ),
        // CERT_E_CHAINING, CERT_E_UNTRUSTEDCA
        0x800B_010A | 0x800B_0112 => certificate(&CertificateError::UnknownIssuer, None),
        code => (
            format!("Windows does not trust it (0x{code:08X})"),
            OPERATOR.to_owned(),
        ),
    }
}

fn transient(what: &str) -> TlsFailure {
    TlsFailure {
        kind: FailureKind::NotSent,
        what: what.to_owned(),
        next: String::new(),
    }
}

fn certificate(problem: &CertificateError, named: Option<&str>) -> (String, String) {
    let (what, next) = match problem {
        CertificateError::UnknownIssuer => {
            let next = match named {
                None => "If a company proxy or a private authority signed it, name the authority's PEM file in \
                         NODE_EXTRA_CA_CERTS or SSL_CERT_FILE and start again; if a public authority did, the server's \
                         operator has to send the certificates between it and the authority along."
                    .to_owned(),
                Some(named) => format!(
                    "The authority that signed it is not among those that {named} names, or the server leaves out a \
                     certificate between the two: add what is missing to that file and start again."
                ),
            };
            return ("its issuer is unknown".to_owned(), next);
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("it has expired, or this machine's clock is wrong", CLOCK)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "it is not valid yet, or this machine's clock is wrong",
            CLOCK,
        ),
        // RFC 9525 §2: the CN-ID is not used.
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            "it names its host in CN alone, which does not count, or nowhere",
            REISSUE,
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "it was made for another host name",
            "Check the host of the configured URL; else the server's operator has to get one that has this name.",
        ),
        CertificateError::Revoked => ("it has been revoked", OPERATOR),
        CertificateError::BadEncoding => (
            "it is damaged, or breaks the rules for certificates",
            OPERATOR,
        ),
        CertificateError::BadSignature => (
            "its signature does not fit: the trusted authority of that name has another key, or a key is too short (RSA takes \
             2048 bits)",
            "If the authority was made again, name its new PEM file in NODE_EXTRA_CA_CERTS; else the server's operator has to \
             get a new one.",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "it is signed by a method that is not accepted, such as SHA-1",
            REISSUE,
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (FOR_CLIENTS, REISSUE)
        }
        CertificateError::UnhandledCriticalExtension => (
            "it has a critical extension that is not known here",
            OPERATOR,
        ),
        CertificateError::Other(OtherError(other)) => {
            return match other.downcast_ref::<webpki::Error>() {
                Some(error) => {
                    let (what, next) = unfit(error);
                    (what.to_owned(), next.to_owned())
                }
                None if other.to_string() == NO_SERVER => {
                    (FOR_CLIENTS.to_owned(), REISSUE.to_owned())
                }
                // The words of the operating system's verifier.
                #[cfg(windows)]
                None if other.is::<std::io::Error>() => of_windows(other.downcast_ref()),
                None => (other.to_string(), OPERATOR.to_owned()),
            };
        }
        _ => ("it could not be verified", OPERATOR),
    };
    (what.to_owned(), next.to_owned())
}

fn unfit(error: &webpki::Error) -> (&'static str, &'static str) {
    match error {
        // RFC 5280 §4.2.1.9; `openssl req -x509` makes such certificates by default.
        webpki::Error::CaUsedAsEndEntity => (
            "it is an authority's own (CA:TRUE), which may not stand for a server",
            REISSUE,
        ),
        webpki::Error::UnsupportedCertVersion => ("it is of a version before X.509 v3", REISSUE),
        webpki::Error::EndEntityUsedAsCa
        | webpki::Error::PathLenConstraintViolated
        | webpki::Error::NameConstraintViolation => (
            "one of the authorities between it and the trusted one was not allowed to sign it",
            OPERATOR,
        ),
        _ => ("it breaks the rules for certificates", OPERATOR),
    }
}

#[cfg(test)]
#[cfg(windows)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_says_by_number_is_said_in_words() {
        let said = |code: u32| {
            let error = std::io::Error::from_raw_os_error(code.cast_signed());
            of_windows(Some(&error)).0
        };
        assert!(said(0x800B_010E).contains("revoked"));
        assert!(said(0x800B_010A).contains("issuer is unknown"));
        assert_eq!(said(0x800B_0110), "Windows does not trust it (0x800B0110)");
    }
}
