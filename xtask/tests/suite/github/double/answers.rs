//! What the double answers.

use super::{
    Host, READER, REPOSITORY, Refusal, Shared, TOKEN, lock,
    state::{Asset, Release, digest, plain},
};
use http_body_util::Full;
use hyper::{
    Response,
    body::Bytes,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, LOCATION, USER_AGENT,
    },
    http::request::Parts,
};
use serde_json::{Value, json};

type Answer = Response<Full<Bytes>>;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Reader,
    Writer,
}

/// Answers a request to the API or to the storage.
pub(super) fn answer(shared: &Shared, host: Host, head: &Parts, body: &Bytes) -> Answer {
    if host == Host::Storage {
        return storage(shared, head);
    }
    let who = match who(head) {
        Ok(who) => who,
        Err(refused) => return *refused,
    };
    let routes = format!("{}/repos/{REPOSITORY}/", shared.prefix);
    let Some(route) = head.uri.path().strip_prefix(&routes) else {
        return fault(404, "Not Found");
    };
    let method = head.method.as_str();
    if method != "GET" && who != Who::Writer {
        return match who {
            Who::Nobody => fault(401, "Requires authentication"),
            _ => fault(403, "Resource not accessible by integration"),
        };
    }
    let parts: Vec<_> = route.split('/').collect();
    match (method, &parts[..]) {
        ("GET", ["releases"]) => {
            let state = lock(&shared.state);
            let seen = state.releases.values().rev();
            let seen = seen.filter(|release| !release.draft || who == Who::Writer);
            let all = seen.map(|release| release_json(shared, release)).collect();
            paged(shared, head, all)
        }
        ("POST", ["releases"]) => create(shared, body),
        ("GET", ["releases", "tags", tag]) => {
            let state = lock(&shared.state);
            let mut published = state.releases.values().filter(|release| !release.draft);
            match published.find(|release| release.tag == *tag) {
                Some(release) => tagged(head, &release_json(shared, release)),
                None => fault(404, "Not Found"),
            }
        }
        ("GET", ["commits", "tags", tag]) => match lock(&shared.state).tags.get(&decoded(tag)) {
            Some(commit) => Response::new(Full::from(commit.clone())),
            None => fault(422, &format!("No commit found for SHA: tags/{tag}")),
        },
        (_, ["releases", "assets", id]) => asset(shared, head, who, id.parse().unwrap_or_default()),
        (_, ["releases", id]) => release(shared, head, who, id.parse().unwrap_or_default(), body),
        ("GET", ["releases", id, "assets"]) => {
            let state = lock(&shared.state);
            let release = id.parse().ok().and_then(|id: u64| state.releases.get(&id));
            match release.filter(|release| !release.draft || who == Who::Writer) {
                None => fault(404, "Not Found"),
                Some(release) => {
                    let all = release.assets.iter().map(|asset| asset_json(shared, asset));
                    paged(shared, head, all.collect())
                }
            }
        }
        _ => fault(404, "Not Found"),
    }
}

fn who(head: &Parts) -> Result<Who, Box<Answer>> {
    if !head.headers.contains_key(USER_AGENT) {
        return Err(Box::new(fault(403, "Request forbidden by administrative rules.")));
    }
    let all: Vec<_> = head.headers.get_all(AUTHORIZATION).iter().collect();
    match all[..] {
        [] => Ok(Who::Nobody),
        [one] if one == format!("Bearer {TOKEN}").as_str() => Ok(Who::Writer),
        [one] if one == format!("Bearer {READER}").as_str() => Ok(Who::Reader),
        _ => Err(Box::new(fault(401, "Bad credentials"))),
    }
}

fn create(shared: &Shared, body: &Bytes) -> Answer {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return fault(400, "Problems parsing JSON");
    };
    let Some(tag) = asked["tag_name"].as_str() else { return invalid("missing_field", "tag_name") };
    let mut state = lock(&shared.state);
    let id = state.add(tag, true, &[]);
    let is_draft = asked["draft"].as_bool().unwrap_or_default();
    state.releases.get_mut(&id).expect("just added").change(&asked);
    let latest = asked["make_latest"].as_str().unwrap_or("true");
    if !is_draft && state.publish(id, latest).is_err() {
        state.releases.remove(&id);
        return invalid("already_exists", "tag_name");
    }
    let release = release_json(shared, &state.releases[&id]);
    json_answer(201, &release)
}

fn release(shared: &Shared, head: &Parts, who: Who, id: u64, body: &Bytes) -> Answer {
    let mut state = lock(&shared.state);
    let seen = state.releases.get(&id).filter(|release| !release.draft || who == Who::Writer);
    let Some(seen) = seen else { return fault(404, "Not Found") };
    match head.method.as_str() {
        "GET" => tagged(head, &release_json(shared, seen)),
        "DELETE" => {
            state.releases.remove(&id);
            empty(204)
        }
        "PATCH" => {
            let Ok(asked) = serde_json::from_slice::<Value>(body) else {
                return fault(400, "Problems parsing JSON");
            };
            if asked["draft"] == false
                && state.publish(id, asked["make_latest"].as_str().unwrap_or("true")).is_err()
            {
                return invalid("already_exists", "tag_name");
            }
            let release = state.releases.get_mut(&id).expect("seen above");
            release.change(&asked);
            json_answer(200, &release_json(shared, release))
        }
        _ => fault(404, "Not Found"),
    }
}

impl Release {
    fn change(&mut self, asked: &Value) {
        let text = |key: &str| asked[key].as_str().map(str::to_owned);
        self.tag = text("tag_name").unwrap_or_else(|| self.tag.clone());
        self.target = text("target_commitish").or_else(|| self.target.take());
        self.name = text("name").unwrap_or_else(|| self.name.clone());
        self.body = text("body").unwrap_or_else(|| self.body.clone());
        self.prerelease = asked["prerelease"].as_bool().unwrap_or(self.prerelease);
    }
}

fn asset(shared: &Shared, head: &Parts, who: Who, id: u64) -> Answer {
    let mut state = lock(&shared.state);
    let found = state.asset(id).filter(|(release, _)| !release.draft || who == Who::Writer);
    let Some((release, place)) = found else { return fault(404, "Not Found") };
    let is_download = head.headers.get(ACCEPT).is_some_and(|t| t == "application/octet-stream");
    match head.method.as_str() {
        "DELETE" => {
            release.assets.remove(place);
            empty(204)
        }
        "GET" if is_download && release.assets[place].is_uploaded => {
            let storage = shared.hosts[2];
            let mut found = empty(302);
            let url = format!("http://{storage}/{id}?signature=secret");
            found.headers_mut().insert(LOCATION, url.parse().unwrap());
            found
        }
        "GET" if !is_download => tagged(head, &asset_json(shared, &release.assets[place])),
        _ => fault(404, "Not Found"),
    }
}

fn storage(shared: &Shared, head: &Parts) -> Answer {
    if head.headers.contains_key(AUTHORIZATION) {
        return fault(400, "Only one auth mechanism allowed");
    }
    let id = head.uri.path().trim_start_matches('/').parse().unwrap_or_default();
    if head.uri.query() != Some("signature=secret") {
        return fault(403, "Signature not valid");
    }
    match lock(&shared.state).asset(id) {
        Some((release, place)) => Response::new(Full::new(release.assets[place].bytes.clone())),
        None => fault(404, "Not Found"),
    }
}

/// Begins an upload: the asset is there from now on. Returns its number.
pub(super) fn begin_upload(shared: &Shared, head: &Parts) -> Result<u64, Box<Answer>> {
    match who(head)? {
        Who::Writer => {}
        Who::Reader => return Err(fault(403, "Resource not accessible by integration").into()),
        Who::Nobody => return Err(fault(401, "Requires authentication").into()),
    }
    let routes = format!("{}/repos/{REPOSITORY}/releases/", upload_prefix(shared));
    let route = head.uri.path().strip_prefix(&routes);
    let Some(release) = route.and_then(|route| route.strip_suffix("/assets")) else {
        return Err(fault(404, "Not Found").into());
    };
    let query = head.uri.query().unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or_default();
    if !head.headers.contains_key(CONTENT_TYPE) || asked.is_empty() {
        return Err(fault(400, "Bad Request").into());
    }
    let mut state = lock(&shared.state);
    let (id, name_of_asset) = (state.id(), plain(&decoded(asked)));
    let release = release.parse().ok().and_then(|id: u64| state.releases.get_mut(&id));
    let Some(release) = release else { return Err(fault(404, "Not Found").into()) };
    if release.assets.iter().any(|asset| asset.name == name_of_asset) {
        return Err(invalid("already_exists", "name").into());
    }
    let (bytes, digest) = (Bytes::new(), digest(b""));
    release.assets.push(Asset { id, name: name_of_asset, is_uploaded: false, bytes, digest });
    Ok(id)
}

/// Ends an upload, unless the asset was deleted meanwhile.
pub(super) fn end_upload(shared: &Shared, id: u64, bytes: Bytes) -> Answer {
    let mut state = lock(&shared.state);
    let Some((release, place)) = state.asset(id) else { return fault(404, "Not Found") };
    let asset = &mut release.assets[place];
    (asset.digest, asset.bytes, asset.is_uploaded) = (digest(&bytes), bytes, true);
    json_answer(201, &asset_json(shared, asset))
}

/// Answers as a rate limit or a broken host does.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let mut answer = fault(refusal.status, refusal.message);
    for (name, value) in &refusal.headers {
        answer.headers_mut().insert(*name, value.parse().unwrap());
    }
    answer
}

/// Returns what follows the host of uploads.
fn upload_prefix(shared: &Shared) -> &'static str {
    if shared.prefix.is_empty() { "" } else { "/api/uploads" }
}

fn release_json(shared: &Shared, release: &Release) -> Value {
    let api = format!("{}{}", shared.hosts[0], shared.prefix);
    let uploads = format!("{}{}", shared.hosts[1], upload_prefix(shared));
    let Release { id, tag, target, name, body, draft, prerelease, .. } = release;
    let page = if *draft { format!("untagged-{id}") } else { tag.clone() };
    json!({
        "id": id,
        "url": format!("http://{api}/repos/{REPOSITORY}/releases/{id}"),
        "html_url": format!("http://{api}/{REPOSITORY}/releases/tag/{page}"),
        "upload_url": format!("http://{uploads}/repos/{REPOSITORY}/releases/{id}/assets{{?name,label}}"),
        "tag_name": tag,
        "target_commitish": target.as_deref().unwrap_or("main"),
        "name": name,
        "body": body,
        "draft": draft,
        "prerelease": prerelease,
        "assets": release.assets.iter().map(|a| asset_json(shared, a)).collect::<Vec<_>>(),
    })
}

fn asset_json(shared: &Shared, asset: &Asset) -> Value {
    let api = format!("{}{}", shared.hosts[0], shared.prefix);
    let mut json = json!({
        "id": asset.id,
        "url": format!("http://{api}/repos/{REPOSITORY}/releases/assets/{}", asset.id),
        "name": asset.name,
        "state": if asset.is_uploaded { "uploaded" } else { "starter" },
        "size": asset.bytes.len(),
        "content_type": "application/octet-stream",
    });
    if lock(&shared.rules).has_digests {
        json["digest"] = if asset.is_uploaded { asset.digest.as_str().into() } else { Value::Null };
    }
    json
}

/// Answers with a page of a list, 30 entries where nothing else is asked for.
fn paged(shared: &Shared, head: &Parts, all: Vec<Value>) -> Answer {
    let query = head.uri.query().unwrap_or_default();
    let number = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.and_then(|number| number.parse::<usize>().ok())
    };
    let size = number("per_page").unwrap_or(30).clamp(1, lock(&shared.rules).page);
    let page = number("page").unwrap_or(1).max(1);
    let items: Vec<_> = all.iter().skip((page - 1) * size).take(size).collect();
    let mut answer = tagged(head, &json!(items));
    if page * size < all.len() {
        let (api, path) = (shared.hosts[0], head.uri.path());
        let next = format!("http://{api}{path}?per_page={size}&page={}", page + 1);
        let last = format!("http://{api}{path}?per_page={size}&page={}", all.len().div_ceil(size));
        let links = format!("<{next}>; rel=\"next\", <{last}>; rel=\"last\"");
        answer.headers_mut().insert(LINK, links.parse().unwrap());
    }
    answer
}

/// Answers with a tag, or with 304 for who knows it.
fn tagged(head: &Parts, json: &Value) -> Answer {
    let tag = format!("W/\"{}\"", &digest(json.to_string().as_bytes())[7..]);
    let is_known = head.headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let mut answer = if is_known { empty(304) } else { json_answer(200, json) };
    answer.headers_mut().insert(ETAG, tag.parse().unwrap());
    answer
}

fn json_answer(status: u16, json: &Value) -> Answer {
    let mut answer = Response::new(Full::from(json.to_string()));
    *answer.status_mut() = status.try_into().unwrap();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
    headers.insert("x-ratelimit-remaining", "4999".parse().unwrap());
    answer
}

fn empty(status: u16) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status.try_into().unwrap();
    answer
}

fn fault(status: u16, message: &str) -> Answer {
    json_answer(status, &json!({ "message": message, "documentation_url": "" }))
}

fn invalid(code: &str, field: &str) -> Answer {
    let resource = if field == "name" { "ReleaseAsset" } else { "Release" };
    let errors = json!([{ "resource": resource, "code": code, "field": field }]);
    json_answer(422, &json!({ "message": "Validation Failed", "errors": errors }))
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
