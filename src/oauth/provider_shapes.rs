//! The documented answers of public providers, each brought to its right end.

use std::time::Duration;

use serde_json::Value;

use super::client::{Client, ClientAuthentication};
use super::device_access_token::{DeviceAccessTokenRequest, await_approval};
use super::device_authorization::{self, DeviceAuthorizationRequest};
use super::refresh::{RefreshFailure, RefreshRequest, refresh};
use super::revocation::{RevocationRequest, revoke};
use crate::error::{Error, ErrorCode};
use crate::http::scripted::{ScriptedClient, response};
use crate::http::{Endpoint, Response};
use crate::secret::Secret;
use crate::time::{Clock as _, TestClock, UnixMillis};

const TIMEOUT: Duration = Duration::from_secs(30);

struct Shape {
    provider: String,
    step: String,
    status: Option<u16>,
    body: String,
}

fn shapes() -> Vec<Shape> {
    let text = include_str!("../../__test__/fixtures/provider-shapes.json");
    let shapes: Vec<Value> = serde_json::from_str(text).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    shapes
        .iter()
        .map(|shape| Shape {
            provider: text(&shape["provider"]).unwrap(),
            step: text(&shape["step"]).unwrap(),
            status: shape["status"]
                .as_u64()
                .map(|status| u16::try_from(status).unwrap()),
            body: text(&shape["body"]).unwrap_or_else(|| shape["body"].to_string()),
        })
        .collect()
}

impl Shape {
    /// Where the source states no status, the answer must mean the same with either.
    fn statuses(&self) -> Vec<u16> {
        self.status
            .map_or_else(|| vec![400, 200], |status| vec![status])
    }

    fn response(&self, status: u16) -> Response {
        response(status, &self.body)
    }

    /// The expected result of a login or refresh, in the words of [`outcome`].
    fn expected(&self) -> &'static str {
        let (step, variant) = self.step.split_once('.').unwrap();
        match (step, variant) {
            ("device_authorization", "ok.xml") => "INVALID_RESPONSE",
            ("device_authorization", "unsupported_old_ghes") => "DEVICE_FLOW_UNSUPPORTED",
            ("token", "denied" | "access_denied") => "ACCESS_DENIED",
            ("token", "expired" | "expired_token" | "expired_first" | "expired_later") => {
                "DEVICE_CODE_EXPIRED"
            }
            ("token", variant)
                if variant.contains("pending") || variant == "session_not_yet_visible" =>
            {
                "pending"
            }
            ("token", "slow_down") => "slow down",
            ("refresh", "fail" | "invalid_grant" | "reused") => "refused",
            (_, variant) if variant.starts_with("ok") => "ok",
            ("device_authorization", "disabled" | "unauthorized")
            | (
                "token",
                "invalid_grant"
                | "invalid_client"
                | "admin_policy"
                | "org_internal"
                | "bad_code"
                | "bad_client"
                | "needs_secret"
                | "unknown_or_redeemed"
                | "client_not_enabled",
            ) => "OAUTH_ERROR",
            _ => panic!("{} {} has no expectation", self.provider, self.step),
        }
    }
}

struct Parties {
    endpoint: Endpoint,
    client: Client,
    secret: Secret,
}

impl Parties {
    fn new() -> Self {
        Self {
            endpoint: Endpoint::parse("https://auth.example.com/endpoint").unwrap(),
            client: Client {
                id: "c".into(),
                secret: None,
                authentication: ClientAuthentication::None,
                assertions: None,
            },
            secret: Secret::from("the-secret"),
        }
    }
}

fn code(error: &Error) -> &'static str {
    error.code().as_str()
}

async fn device_authorization(parties: &Parties, answer: Response) -> &'static str {
    let http = ScriptedClient::new().respond(answer);
    let request = DeviceAuthorizationRequest {
        endpoint: &parties.endpoint,
        client: &parties.client,
        scope: "",
        audience: None,
        resources: &[],
        pkce: None,
        extra: &[],
    };
    match device_authorization::request(&http, &request, TIMEOUT).await {
        Ok(authorization) => {
            assert_eq!(authorization.device_code.expose(), "DEVICE-CODE");
            assert!(authorization.expires_in > authorization.interval);
            "ok"
        }
        Err(error) => code(&error),
    }
}

/// Plays the answer, then one that ends the login. The time between the two shows how the answer was classified.
async fn token(parties: &Parties, answer: Response) -> &'static str {
    let http = ScriptedClient::new()
        .respond(answer)
        .otherwise(|_| Ok(response(400, r#"{"error":"the_end"}"#)));
    let request = DeviceAccessTokenRequest {
        endpoint: &parties.endpoint,
        client: &parties.client,
        device_code: &parties.secret,
        pkce: None,
        resources: &[],
        dpop: None,
        extra: &[],
    };
    let clock = TestClock::starting_at(UnixMillis(0));
    let start = tokio::time::Instant::now();
    let deadline = clock.boot().plus(Duration::from_mins(15));
    let interval = Duration::from_secs(5);
    let end = await_approval(
        &http,
        &clock,
        &request,
        interval,
        deadline,
        TIMEOUT,
        &|_| {},
    )
    .await;
    match (end, &http.seconds_since(start)[..]) {
        (Ok(tokens), [5]) => {
            assert_eq!(tokens.token_type, "Bearer");
            "ok"
        }
        (Err(error), [5]) => code(&error),
        (Err(_), [5, 10]) => "pending",
        (Err(_), [5, 15]) => "slow down",
        (_, polls) => panic!("{polls:?}"),
    }
}

async fn refreshed(parties: &Parties, answer: Response) -> &'static str {
    let http = ScriptedClient::new().respond(answer);
    let request = RefreshRequest {
        endpoint: &parties.endpoint,
        client: &parties.client,
        refresh_token: &parties.secret,
        resources: &[],
        dpop: None,
        scope: "",
        json_scopes: None,
        extra: &[],
    };
    match refresh(
        &http,
        &TestClock::starting_at(UnixMillis(0)),
        &request,
        TIMEOUT,
    )
    .await
    {
        Ok(tokens) => {
            assert!(tokens.lifetime.is_some());
            "ok"
        }
        Err(RefreshFailure::Refused(error)) => {
            assert_eq!(error.code(), ErrorCode::LoginRequired);
            "refused"
        }
        Err(other) => code(other.error()),
    }
}

async fn revoked(parties: &Parties, answer: Response) -> &'static str {
    let http = ScriptedClient::new().respond(answer);
    let request = RevocationRequest {
        endpoint: &parties.endpoint,
        client: &parties.client,
        token: &parties.secret,
        hint: "refresh_token",
        dpop: None,
    };
    match revoke(&http, &request, TIMEOUT).await {
        Ok(()) => "ok",
        Err(error) => code(&error),
    }
}

async fn outcome(shape: &Shape, status: u16) -> &'static str {
    let parties = Parties::new();
    let answer = shape.response(status);
    match shape.step.split('.').next().unwrap() {
        "device_authorization" => device_authorization(&parties, answer).await,
        "token" => token(&parties, answer).await,
        "refresh" => refreshed(&parties, answer).await,
        "revoke" => revoked(&parties, answer).await,
        step => panic!("unknown step {step}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_shape_comes_to_its_right_end() {
    let shapes = shapes();
    assert!(shapes.len() >= 63);
    for shape in &shapes {
        for status in shape.statuses() {
            let found = outcome(shape, status).await;
            assert_eq!(
                found,
                shape.expected(),
                "{} {} HTTP {status}",
                shape.provider,
                shape.step
            );
        }
    }
}
