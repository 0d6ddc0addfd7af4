//! The account page of the example `account` for actix-web. The pages and the use of the session
//! are the same, and are in `../account/app.rs`.
//!
//! ```console
//! $ cargo run --example account_actix                                               # sessions in the client's cookie
//! $ SESSION_URL=sqlite:///demo.db cargo run --example account_actix --features sqlite     # in a file
//! $ SESSION_URL=redis://127.0.0.1:6379/0 cargo run --example account_actix --features redis
//! ```
//!
//! `PORT` (3000; 0 selects a free one) and `SESSION_SECRET` are also read from the environment, and
//! `TLS` (set if a proxy in front speaks TLS).

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

#[path = "../account/app.rs"]
mod app;

use actix_web::http::header;
use actix_web::web::{Data, Form, ServiceConfig, get, post, scope};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, Responder};
use app::{Account, Answer, App, Device, Login};
use mocha_session::CrossOriginProtection;
use mocha_session::actix::{CrossOriginMiddleware, Error, Session, SessionMiddleware};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = App::open().await?;
    let _sweeper = app.manager().spawn_sweeper(std::time::Duration::from_secs(600));
    // One manager for all workers, because the closure below runs once in each.
    let sessions = SessionMiddleware::new(app.manager().clone());
    let cross_origin = CrossOriginMiddleware::new(CrossOriginProtection::new());
    let app = Data::new(app);
    let worker = move || {
        actix_web::App::new()
            .app_data(app.clone())
            // Outside the session middleware, as are all pages that need no session.
            .route("/about", get().to(about))
            .service(scope("").configure(routes).wrap(sessions.clone()))
            .wrap(cross_origin.clone())
    };

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into()).parse()?;
    let server = HttpServer::new(worker).bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("Listening on http://{address}");
    }
    server.run().await?;
    Ok(())
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", get().to(home))
        .route("/account", get().to(account_form))
        .route("/account", post().to(save_account))
        .route("/account/saved", get().to(saved))
        .route("/login", post().to(login))
        .route("/logout", post().to(logout))
        .route("/devices", get().to(devices))
        .route("/devices/end", post().to(end_device))
        .route("/devices/end-others", post().to(end_others))
        .route("/devices/end-all", post().to(end_all));
}

/// The result of a handler: a page, a redirect, or a session error, which is a response too.
type Handled = Result<Answer, Error>;

impl Responder for Answer {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match self {
            Self::Page(page) => html().body(page),
            Self::Private(page) => {
                html().insert_header((header::CACHE_CONTROL, "no-store")).body(page)
            }
            Self::SeeOther(path) => {
                HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
            }
            Self::Broken => HttpResponse::InternalServerError().finish(),
        }
    }
}

fn html() -> HttpResponseBuilder {
    let mut html = HttpResponse::Ok();
    html.content_type("text/html; charset=utf-8");
    html
}

async fn home(app: Data<App>, session: Session) -> Handled {
    Ok(app.home(&session)?)
}

async fn account_form(app: Data<App>, session: Session) -> Handled {
    Ok(app.account_form(&session)?)
}

async fn save_account(session: Session, account: Form<Account>) -> Handled {
    Ok(App::save_account(&session, account.into_inner())?)
}

async fn saved(app: Data<App>, session: Session) -> Handled {
    Ok(app.saved(&session)?)
}

async fn login(session: Session, request: HttpRequest, login: Form<Login>) -> Handled {
    let browser = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Ok(App::login(&session, &login, browser)?)
}

async fn logout(session: Session) -> Handled {
    Ok(App::logout(&session)?)
}

async fn devices(app: Data<App>, session: Session) -> Handled {
    Ok(app.devices(&session).await?)
}

async fn end_device(app: Data<App>, session: Session, device: Form<Device>) -> Handled {
    Ok(app.end_device(&session, &device).await?)
}

async fn end_others(app: Data<App>, session: Session) -> Handled {
    Ok(app.end_others(&session).await?)
}

async fn end_all(app: Data<App>, session: Session) -> Handled {
    Ok(app.end_all(&session).await?)
}

async fn about(app: Data<App>) -> Answer {
    app.about()
}
