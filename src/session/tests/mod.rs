//! The use cases from end to end, on a paused clock: a scripted server, the real store in a temp folder.

mod abort;
mod access_token;
mod accounts;
mod adoption;
mod attempts;
mod authorization_code;
mod back_off;
mod bench;
mod clocks;
mod device_tokens;
mod doctor;
mod dpop;
mod import_token;
mod login;
mod logout;
mod ownership;
mod refusal;
mod rejected_token;
mod single_flight;
mod status;
mod superseded;
mod targets;
mod two_logins;
mod unsaved;
