//! Ten thousand rounds of hostile input: the server stays and serves honest peers.

use sinew_testkit::net::Net;
use sinew_testkit::random::{Telltale, seeds};
use sinew_testkit::setup::Setup;
use sinew_testkit::{hostile, scenarios};

/// Memory is bounded by what the limits allow the peers that are there at one time; the counting test of allocations
/// and `who_does_not_take_its_answers_is_not_read_any_more` in the session look at it more closely.
#[tokio::test(start_paused = true)]
async fn ten_thousand_rounds_of_nonsense_harm_nobody_else() {
    for seed in seeds(1) {
        let _telltale = Telltale(seed);
        let net = Net::default();
        let mut setup = Setup::on(&net, "mem://here");
        let server = setup.serve_bus().await;
        hostile::after_admission(&setup, &server, 0, seed, 10_000).await;
        scenarios::round_trip(&setup, 0).await;
        server.drain().await;
    }
}
