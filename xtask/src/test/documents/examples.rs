//! The control API's requests as its document shows them: `curl` commands that a test can send.

use anyhow::{Result, bail, ensure};

use super::{Document, find};

const CONTROL: &str = "docs/control-api.md";
const ROTATION: &str = "docs/rotation.md";

/// A request that a document shows as a `curl` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::test) struct Example {
    pub(in crate::test) method: String,
    /// With the shell's variables in it.
    pub(in crate::test) url: String,
    pub(in crate::test) body: Option<String>,
    /// Whether it carries the operator's token.
    pub(in crate::test) has_token: bool,
}

/// The control API's requests, in the order of the document.
pub(in crate::test) fn examples() -> Result<Vec<Example>> {
    let documents = super::documents()?;
    let document = find(&documents, CONTROL)?;
    document.commands().filter_map(|command| example(&command).transpose()).collect()
}

/// What a section of the document on rotation sends to change the keys in force, in its order: what
/// stands in each `keys '...'`.
pub(in crate::test) fn key_changes(section: &str) -> Result<Vec<String>> {
    let documents = super::documents()?;
    let text = find(&documents, ROTATION)?.section(section)?.join("\n");
    let changes = text.split("`keys '").skip(1).filter_map(|rest| rest.split_once("'`"));
    Ok(changes.map(|(change, _)| change.to_owned()).collect())
}

/// Routes of the control API without an example, and examples without a route.
pub(super) fn faults(documents: &[Document]) -> Result<Vec<String>> {
    let document = find(documents, CONTROL)?;
    let routes: Vec<(&str, &str)> = document
        .headings()
        .filter_map(|(_, line)| line.split('`').nth(1)?.split_once(' '))
        .collect();
    ensure!(!routes.is_empty(), "{CONTROL} has no heading such as `GET /health`");
    let examples = examples()?;
    let shows = |example: &Example, (method, route): (&str, &str)| {
        example.method == method && fits(route, &example.url)
    };
    let without = routes
        .iter()
        .filter(|route| !examples.iter().any(|example| shows(example, **route)))
        .map(|(method, route)| format!("{CONTROL}: no example of {method} {route}"));
    let unknown = examples
        .iter()
        .filter(|example| !routes.iter().any(|route| shows(example, *route)))
        .map(|example| format!("{CONTROL}: no heading for {} {}", example.method, example.url));
    Ok(without.chain(unknown).collect())
}

/// Whether a URL such as `$CONTROL/control/events/demo` is of the route `/control/events/{event}`.
fn fits(route: &str, url: &str) -> bool {
    let path = url.split_once('/').map_or("", |(_, path)| path);
    let (route, path): (Vec<_>, Vec<_>) =
        (route.trim_start_matches('/').split('/').collect(), path.split('/').collect());
    route.len() == path.len()
        && route.iter().zip(path).all(|(one, other)| one.starts_with('{') || *one == other)
}

/// The request of a `curl` command; none of another command.
fn example(command: &str) -> Result<Option<Example>> {
    let words = words(command);
    let mut words = words.iter().map(String::as_str);
    if words.next() != Some("curl") {
        return Ok(None);
    }
    let mut example =
        Example { method: "GET".to_owned(), url: String::new(), body: None, has_token: false };
    let mut method = None;
    while let Some(word) = words.next() {
        match word {
            "-X" => method = words.next(),
            "-H" => {
                let header = words.next().unwrap_or_default();
                example.has_token |= header == "authorization: Bearer $TOKEN";
            }
            "-d" => example.body = words.next().map(str::to_owned),
            url if url.starts_with('$') => example.url = url.to_owned(),
            other => bail!("{CONTROL}: {other} in {command:?} is not understood by the test"),
        }
    }
    // As curl does.
    let posts = if example.body.is_some() { "POST" } else { "GET" };
    method.unwrap_or(posts).clone_into(&mut example.method);
    Ok(Some(example))
}

/// The words of a shell's command, quotes taken away.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curl_command_is_read_as_a_request() {
        let text = "```\ncurl -H \"authorization: Bearer $TOKEN\" \\\n  -d '{\"a\": 1}' $CONTROL/a/b\n\
            curl $ADMIN/healthz\nls -l\n```\n";
        let document = Document { path: "docs/a.md".into(), text: text.to_owned() };
        let examples: Vec<Example> = document
            .commands()
            .filter_map(|command| example(&command).expect("understood"))
            .collect();
        assert_eq!(examples.len(), 2);
        assert_eq!(
            (examples[0].method.as_str(), examples[0].url.as_str()),
            ("POST", "$CONTROL/a/b")
        );
        assert_eq!(examples[0].body.as_deref(), Some("{\"a\": 1}"));
        assert!(examples[0].has_token && !examples[1].has_token);
        assert_eq!(examples[1].method, "GET");
        assert!(fits("/a/{id}", "$CONTROL/a/b") && !fits("/a", "$CONTROL/a/b"));
        assert!(example("curl --proxy x $CONTROL/").is_err());
    }
}
