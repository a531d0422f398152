//! What a call becomes, without a connection: the rest is tested over every transport.

use sinew_session::{from_value, to_value};

use super::Call;

#[test]
fn a_call_without_a_trace_is_read_and_a_strange_one_refused() {
    #[derive(serde::Serialize)]
    struct Bare {
        request: u8,
    }
    let bare = to_value(&Bare { request: 7 }).expect("written");
    let call: Call<u8> = from_value(&bare).expect("read");
    assert_eq!((call.request, call.trace), (7, tarpc::trace::Context::default()));
    from_value::<Call<String>>(&bare).expect_err("a number is no text");
}
