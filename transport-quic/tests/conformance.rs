//! The whole contract, secured and in plaintext.

mod raw;
mod subject;

use sinew_transport_api::conformance::Mode;
use subject::QuicSubject;

sinew_transport_api::conformance!(mod secured, QuicSubject::new(Mode::Identity));
sinew_transport_api::conformance!(mod plaintext, QuicSubject::new(Mode::Plaintext));
