//! Where documents may be that no list names: what a page leads to, and usual names.

use towline_descriptor::Chip;

/// The most places that are looked at: a host is asked for no more than these.
pub(super) const MAX_PLACES: usize = 60;

/// The most of them that come from a page.
const MAX_LINKS: usize = 16;

/// The element of a page that installs what a manifest says.
const BUTTON: &str = "<esp-web-install-button";

/// Channels by the names that are in use.
const CHANNELS: [&str; 4] = ["stable", "testing", "beta", "bleeding-edge"];

/// Returns the manifests that the buttons of a page name.
pub(super) fn buttons(page: &str) -> Vec<String> {
    let page = without_comments(page);
    let tags = page.split(BUTTON).skip(1).filter_map(|rest| rest.split('>').next());
    let mut found: Vec<_> = tags.filter_map(manifest_of).collect();
    found.sort();
    found.dedup();
    found.truncate(MAX_LINKS);
    found
}

/// Returns what stands in quotes in a page and looks as the path of a document.
pub(super) fn documents(page: &str) -> Vec<String> {
    let quoted = page.split(['"', '\'', '`']);
    let is_document = |text: &&str| {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        path.ends_with(".json") && is_path(text)
    };
    let mut found: Vec<_> = quoted.filter(is_document).map(unescaped).collect();
    found.sort();
    found.dedup();
    found.truncate(MAX_LINKS);
    found
}

/// Returns where documents usually are.
pub(super) fn usual() -> impl Iterator<Item = String> {
    let manifests = ["manifest.json", "firmware/manifest.json"].map(String::from);
    let descriptors = Chip::ALL
        .iter()
        .flat_map(|chip| CHANNELS.map(|channel| format!("ota/{channel}/{chip}.json")));
    manifests.into_iter().chain(descriptors)
}

/// Returns the attribute `manifest` of a tag, unless a script fills it in.
fn manifest_of(tag: &str) -> Option<String> {
    let mut from = tag;
    loop {
        let (before, rest) = from.split_once("manifest")?;
        from = rest;
        let is_name = before.ends_with(|c: char| c.is_ascii_whitespace());
        let Some(value) = rest.trim_start().strip_prefix('=').filter(|_| is_name) else { continue };
        let value = value.trim_start();
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split_ascii_whitespace().next()?.trim_end_matches('/'),
        };
        return is_path(value.trim()).then(|| unescaped(value.trim()));
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.len() < 256 && !text.contains(['{', '}', '$', '<', '>', '\\', '\n'])
}

fn unescaped(text: &str) -> String {
    text.replace("&amp;", "&")
}

fn without_comments(page: &str) -> String {
    let mut pieces = page.split("<!--");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once("-->").map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_manifests() {
        let page = r#"
            <!-- <esp-web-install-button manifest="old.json"></esp-web-install-button> -->
            <esp-web-install-button class="x" manifest="web/manifest.json?a=1&amp;b=2"></esp-web-install-button>
            <esp-web-install-button data-manifest="no" manifest = 'esp32'><button slot="activate">
            <esp-web-install-button manifest=plain/ install-supported>
            <esp-web-install-button manifest="${path}">
            <script>button.manifest = `firmware/lamp.json`; fetch("https://a.example/b.json")</script>
            <a href="x.bin">"some text.json"</a>"#;
        assert_eq!(buttons(page), ["esp32", "plain", "web/manifest.json?a=1&b=2"]);
        let found = documents(page);
        for expected in ["firmware/lamp.json", "https://a.example/b.json"] {
            assert!(found.iter().any(|path| path == expected), "{found:?}");
        }
        assert!(buttons("<esp-web-install-button").is_empty());
        assert!(buttons("<html>").is_empty() && documents("<html>").is_empty());
    }

    #[test]
    fn usual_places_are_few() {
        let places: Vec<_> = usual().collect();
        assert!(places.len() + 2 <= MAX_PLACES, "{}", places.len());
        assert!(places.iter().any(|path| path == "ota/stable/esp32s3.json"));
    }
}
