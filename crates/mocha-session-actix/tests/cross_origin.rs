//! The middleware that refuses what other sites make a browser send.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use actix_web::http::header;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse};
use mocha_session_actix::{CrossOriginMiddleware, CrossOriginProtection, SessionMiddleware};
use support::{Client, count, manager};

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(count))
        .route("/", web::post().to(count))
        .service(web::scope("/hooks").route("/one", web::post().to(count)));
}

async fn answer(request: TestRequest) -> HttpResponse {
    let protection = CrossOriginProtection::new()
        .trust("https://trusted.example")
        .and_then(|protection| protection.exempt("/hooks/"))
        .unwrap();
    let app = App::new()
        .configure(routes)
        .wrap(SessionMiddleware::new(manager("s")))
        .wrap(CrossOriginMiddleware::new(protection));
    Client::new(init_service(app).await).request(request).await
}

#[actix_web::test]
async fn a_form_of_another_site_is_refused_before_the_session_is_touched() {
    let form = || TestRequest::post().uri("/").insert_header((header::HOST, "example.com"));
    let refused = answer(form().insert_header(("sec-fetch-site", "cross-site"))).await;
    assert_eq!(refused.status(), 403);
    assert!(!refused.headers().contains_key(header::SET_COOKIE));
    for (header, value, expected) in [
        ("sec-fetch-site", "same-origin", 200),
        ("origin", "https://example.com", 200),
        ("origin", "https://trusted.example", 200),
        ("origin", "https://attacker.example", 403),
    ] {
        let answer = answer(form().insert_header((header, value))).await;
        assert_eq!(answer.status().as_u16(), expected, "{header} {value}");
    }
    assert_eq!(answer(form()).await.status(), 200, "not a browser");
    let safe = TestRequest::get().uri("/").insert_header(("sec-fetch-site", "cross-site"));
    assert_eq!(answer(safe).await.status(), 200);
    let exempt =
        TestRequest::post().uri("/hooks/one").insert_header(("sec-fetch-site", "cross-site"));
    assert_eq!(answer(exempt).await.status(), 200);
}

#[actix_web::test]
async fn under_http_2_the_host_is_in_the_uri() {
    for (origin, expected) in [("https://example.com", 200), ("https://attacker.example", 403)] {
        let request = TestRequest::post().uri("https://example.com/");
        let answer = answer(request.insert_header(("origin", origin))).await;
        assert_eq!(answer.status().as_u16(), expected, "{origin}");
    }
}
