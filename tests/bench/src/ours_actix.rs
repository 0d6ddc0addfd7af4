//! This library over actix-web, with the handlers that `actix-session` is measured with.

use actix_web::http::header;
use actix_web::{App, HttpResponse, test, web};
use mocha_session::SessionManager;
use mocha_session::actix::{Error, Flash, Session, SessionMiddleware};

use crate::actix_client::{ActixSubject, untouched};
use crate::data::{self, Item};
use crate::ours::{CART, COUNTER, USER, storage};
use crate::visitor::Subject;

/// Returns a subject of this file by its name.
pub async fn open(name: &str, url: Option<&str>) -> Option<impl Subject + use<>> {
    let manager = SessionManager::new(storage(name, url).await?).expect("a manager");
    let sessions = SessionMiddleware::new(manager);
    Some(ActixSubject(async move || {
        test::init_service(crate::actix_routes!(App::new().wrap(sessions.clone()))).await
    }))
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get(USER)?.unwrap_or_default().to_string())
}

async fn items(session: Session) -> Result<String, Error> {
    let items: Vec<Item> = session.get(CART)?.unwrap_or_default();
    Ok(items.len().to_string())
}

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update(COUNTER, |count| count.unwrap_or(0) + 1)?.to_string())
}

async fn fill(session: Session) -> Result<&'static str, Error> {
    session.insert(USER, data::USER_ID)?;
    session.insert(COUNTER, 0)?;
    session.insert(CART, data::cart())?;
    Ok("filled")
}

async fn rotate(session: Session) -> Result<&'static str, Error> {
    session.rotate()?;
    Ok("rotated")
}

async fn flash(flash: Flash) -> Result<HttpResponse, Error> {
    flash.success(data::SAVED)?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/flashed")).finish())
}

async fn flashed(flash: Flash) -> String {
    flash.messages().first().map(|message| message.text().to_owned()).unwrap_or_default()
}
