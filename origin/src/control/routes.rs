//! The routes below `/api/v1`, and what each needs.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::http::{not_found, problem};
use crate::streams::Role;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    ListStreams,
    MakeStream,
    ShowStream,
    PatchStream,
    DeleteStream,
    RotateKey,
    EndStream,
    ListTokens,
    MakeToken,
    RevokeToken,
    ListHooks,
    MakeHook,
    DeleteHook,
    ListAudit,
    Reload,
    Describe,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// With `{id}` for what is one path segment.
    pub(super) path: &'static str,
    /// The least role that may.
    pub(super) role: Role,
    pub(super) call: Call,
}

/// All routes.
pub(super) const ROUTES: &[Route] = &[
    route(Method::GET, "/api/v1/streams", Role::Viewer, Call::ListStreams),
    route(Method::POST, "/api/v1/streams", Role::Admin, Call::MakeStream),
    route(Method::GET, "/api/v1/streams/{id}", Role::Viewer, Call::ShowStream),
    route(Method::PATCH, "/api/v1/streams/{id}", Role::Admin, Call::PatchStream),
    route(Method::DELETE, "/api/v1/streams/{id}", Role::Admin, Call::DeleteStream),
    route(Method::POST, "/api/v1/streams/{id}/key", Role::Operator, Call::RotateKey),
    route(Method::POST, "/api/v1/streams/{id}/end", Role::Operator, Call::EndStream),
    route(Method::GET, "/api/v1/tokens", Role::Admin, Call::ListTokens),
    route(Method::POST, "/api/v1/tokens", Role::Admin, Call::MakeToken),
    route(Method::DELETE, "/api/v1/tokens/{id}", Role::Admin, Call::RevokeToken),
    route(Method::GET, "/api/v1/webhooks", Role::Admin, Call::ListHooks),
    route(Method::POST, "/api/v1/webhooks", Role::Admin, Call::MakeHook),
    route(Method::DELETE, "/api/v1/webhooks/{id}", Role::Admin, Call::DeleteHook),
    route(Method::GET, "/api/v1/audit", Role::Admin, Call::ListAudit),
    route(Method::POST, "/api/v1/reload", Role::Admin, Call::Reload),
    route(Method::GET, "/api/v1/openapi.json", Role::Viewer, Call::Describe),
];

const fn route(method: Method, path: &'static str, role: Role, call: Call) -> Route {
    Route { method, path, role, call }
}

/// The route of a request, and the identifier in its path; else the answer that says what is wrong.
pub(super) fn find<'a>(
    method: &Method,
    path: &'a str,
) -> Result<(&'static Route, &'a str), Box<Response<Bytes>>> {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(id) = matched(route.path, path) else { continue };
        if route.method == *wanted {
            return Ok((route, id));
        }
        allowed.push(route.method.as_str());
    }
    if allowed.is_empty() {
        return Err(Box::new(not_found()));
    }
    let title = "The method is not allowed";
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title);
    if let Ok(allow) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    Err(Box::new(response))
}

/// What stands for `{id}`, or nothing where the pattern has none; `None` for another path.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    let mut id = "";
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(id),
            (Some("{id}"), Some(part)) if !part.is_empty() => id = part,
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let described: Value = serde_json::from_str(super::super::streams::OPENAPI).unwrap();
        let paths = described["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        let described: BTreeSet<String> = operations.collect();
        let routes = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path));
        assert_eq!(described, routes.collect());
    }

    #[test]
    fn the_description_says_each_routes_role() {
        let described: Value = serde_json::from_str(super::super::streams::OPENAPI).unwrap();
        for route in ROUTES {
            let method = route.method.as_str().to_lowercase();
            let operation = &described["paths"][route.path][method.as_str()];
            assert_eq!(operation["x-role"], route.role.name(), "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn a_route_is_found_by_method_and_path() {
        let call = |method: Method, path: &'static str| {
            find(&method, path).map(|(route, id)| (route.call, id)).map_err(|no| no.status())
        };
        assert_eq!(call(Method::HEAD, "/api/v1/streams"), Ok((Call::ListStreams, "")));
        assert_eq!(call(Method::POST, "/api/v1/streams/a/end"), Ok((Call::EndStream, "a")));
        assert_eq!(call(Method::PUT, "/api/v1/streams/a"), Err(StatusCode::METHOD_NOT_ALLOWED));
        for nothing in ["/api/v1", "/api/v1/", "/api/v1/streams/", "/api/v1/streams/a/b"] {
            assert_eq!(call(Method::GET, nothing), Err(StatusCode::NOT_FOUND), "{nothing}");
        }
    }
}
