//! A handler's panic costs one request.

use std::any::Any;

use axum::body::Body;
use axum::http::Response;
use axum::response::IntoResponse;
use tower_http::catch_panic::ResponseForPanic;

use crate::http::counters::Counters;
use crate::http::problem::ApiError;

/// Turns a handler's panic into a 500 and counts it. The panic's own message is in the log already.
#[derive(Clone)]
pub(in crate::http) struct AnswerPanic(pub(in crate::http) Counters);

impl ResponseForPanic for AnswerPanic {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> Response<Body> {
        self.0.panics.inc();
        ApiError::Internal.into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn panics() {
        panic!("a handler's mistake");
    }

    #[tokio::test]
    async fn a_panic_costs_one_request_and_is_counted() {
        let counters = Counters::default();
        let router = Router::new().fallback(panics).layer(CatchPanicLayer::custom(AnswerPanic(counters.clone())));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The request failed for a reason of the server's.","code":"internal_error"}"#
        );
        assert_eq!(counters.panics.get(), 1);
    }
}
