//! Why can this not be promoted? The same table in the comment and over the API, and asking changes nothing.

use serde_json::Value;
use titan::domain::command::CommandName;
use titan::domain::run::RunKind;
use titan::playground::exchange::Exchange;

use crate::support::world::{REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

async fn ask(world: &World, query: &str) -> (u16, Value) {
    world.get_api(&format!("/api/explain?{query}")).await
}

/// What was seen and what to do, of every row of an answer.
fn texts(answer: &Value) -> Vec<String> {
    let rows = answer["gates"].as_array().unwrap_or_else(|| panic!("gates: {answer}"));
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    rows.iter().flat_map(|row| [text(row, "observed"), text(row, "way_out")]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_comment_and_the_api_say_the_same() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.proposed(GOOD).await;
    world.say(pr, "carol", "/titan status").await;
    let told = world.status_comment(pr);
    let written = world.github.calls().all().len();
    for command in "propose canary promote rollback lock unlock cancel arm disarm halt resume".split(' ') {
        let (status, answer) = ask(&world, &format!("pull={REPO}%23{pr}&command={command}&actor=carol")).await;
        assert_eq!(status, 200, "{answer}");
        for text in texts(&answer) {
            assert!(told.contains(&text), "{command}: the comment does not say {text:?}:\n{told}");
        }
        let open = answer["gates"].as_array().expect("gates").iter().all(|row| row["passed"] == true);
        assert_eq!(answer["open"], open);
        assert_eq!(answer["head"], world.head(pr));
    }
    let calls = world.github.calls().all();
    let is_read = |call: &Exchange| call.method == "GET" || call.path.ends_with("/access_tokens");
    let writes: Vec<_> = calls[written..].iter().filter(|call| !is_read(call)).collect();
    assert!(writes.is_empty(), "{writes:?}");
    let policies = calls[written..].iter().filter(|call| call.path.ends_with("/contents/.github/titan.yml")).count();
    assert_eq!(policies, 1, "many questions, one reading");
    assert_eq!(world.runs(pr).await, ["propose success"], "nothing is started or refused");
    assert_eq!(world.status_comment(pr), told);

    let (_, nobody) = ask(&world, &format!("pull={pr}&repository={REPO}&command=promote")).await;
    let gates: Vec<_> = nobody["gates"].as_array().expect("gates").iter().map(|row| row["gate"].clone()).collect();
    assert!(!gates.contains(&Value::from("permission")) && gates.contains(&Value::from("approvals")), "{gates:?}");
    let (_, named) = ask(&world, &format!("pull={pr}&repository={REPO}&command=promote&project=web")).await;
    assert_eq!(texts(&named), texts(&nobody), "there is one project");
    world.end().await;
}

/// One row of a table of gates, without what each surface needs to show it.
type Row = (String, String, String, String);

/// What Markdown and HTML write differently.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut tag = false;
    for letter in text.replace("&#x27;", "'").replace("&#39;", "'").replace("&gt;", ">").replace("&quot;", "\"").chars()
    {
        match letter {
            '<' => tag = true,
            '>' if tag => tag = false,
            '`' | '\\' | '*' => {}
            _ if tag => {}
            other => plain.push(other),
        }
    }
    plain.trim().to_owned()
}

/// The rows of a Markdown table under a heading: gate, what was seen, what to do, reason.
fn rows_of_markdown(text: &str, heading: &str) -> Vec<Row> {
    let at = text.find(heading).unwrap_or_else(|| panic!("{heading:?} is missing in\n{text}"));
    let table = text[at..].lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let cells = |line: &str| line.split(" | ").map(|cell| plain(cell.trim_matches(['|', ' ']))).collect::<Vec<_>>();
    let row = |line: &str| {
        let mut cells = cells(line).into_iter().skip(1).chain(std::iter::repeat(String::new()));
        let mut next = || cells.next().expect("endless");
        (next(), next(), next(), next())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// The rows of the table in a part of a page.
fn rows_of_html(page: &str, from: &str) -> Vec<Row> {
    let at = page.find(from).unwrap_or_else(|| panic!("{from:?} is missing in\n{page}"));
    let table = &page[at..][page[at..].find("<tbody>").expect("a table")..];
    let table = &table[..table.find("</tbody>").expect("its end")];
    let row = |row: &str| {
        let gate = plain(row.split("</th>").next().expect("a gate"));
        let cells: Vec<&str> = row.split("<td>").skip(2).collect();
        let (seen, reason) = cells[0].split_once(" <code class=\"reason\">").unwrap_or((cells[0], ""));
        (gate, plain(seen), plain(cells[1]), plain(reason))
    };
    table.split("<th scope=\"row\">").skip(1).map(row).collect()
}

fn rows_of_json(answer: &Value) -> Vec<Row> {
    let text = |row: &Value, key: &str| plain(row[key].as_str().unwrap_or_default());
    let row = |row: &Value| (text(row, "gate"), text(row, "observed"), text(row, "way_out"), text(row, "reason"));
    answer["gates"].as_array().expect("gates").iter().map(row).collect()
}

/// Closed ones first, as people are shown them.
fn closed_first(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.3.is_empty());
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_facts_give_the_same_table_on_every_surface() {
    let world = world().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.proposed(GOOD).await;
    let propose = world.run(pr, RunKind::Propose).await.id;

    // As it stood when the run was asked for: its page, the API and its checks.
    let answered = rows_of_json(&world.get_api(&format!("/api/runs/{propose}")).await.1);
    assert!(answered.len() > 5, "{answered:#?}");
    let page = world.get(&format!("/runs/{propose}")).await;
    assert_eq!(rows_of_html(&page, "id=\"gates\""), answered);
    for check in ["titan/paths", "titan/build"] {
        let summary = world.check(pr, check).output.summary.expect("a summary");
        assert_eq!(rows_of_markdown(&summary, "Gates when it was asked for"), answered, "{check}");
        assert!(summary.contains(&format!("https://titan.example.com/{REPO}/pull/{pr}")), "{summary}");
    }

    // A refusal: the comment, the page and the API.
    world.refused(pr, "bob", "/titan promote", "canary_missing").await;
    let refused = world.run(pr, RunKind::Promote).await.id;
    let answered = rows_of_json(&world.get_api(&format!("/api/runs/{refused}")).await.1);
    assert_eq!(rows_of_html(&world.get(&format!("/runs/{refused}")).await, "id=\"gates\""), answered);
    let comment = world.status_comment(pr);
    let told = [rows_of_markdown(&comment, "**Refused**"), rows_of_markdown(&comment, "gates met</summary>")].concat();
    assert_eq!(told, closed_first(answered));

    // As it stands now: `/titan status`, the page of the change, and the question over the API.
    world.say(pr, "carol", "/titan status").await;
    let comment = world.status_comment(pr);
    let page = world.get(&format!("/{REPO}/pull/{pr}?actor=carol")).await;
    let with_gates =
        CommandName::ALL.into_iter().filter(|name| !matches!(name, CommandName::Status | CommandName::Help));
    for command in with_gates {
        let (status, answer) = ask(&world, &format!("pull={REPO}%23{pr}&command={command}&actor=carol")).await;
        assert_eq!(status, 200, "{command}: {answer}");
        let answered = closed_first(rows_of_json(&answer));
        assert_eq!(answer["open"], answered.iter().all(|row| row.3.is_empty()), "{command}");
        assert_eq!(
            rows_of_html(&page, &format!("<code>/titan {command}</code> <span")),
            answered,
            "{command} on the page"
        );
        if command != CommandName::Trust {
            let heading = format!("Gates of {command}</summary>");
            assert_eq!(rows_of_markdown(&comment, &heading), answered, "{command} in the comment");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_a_change_asks_for_whoever_is_chosen_and_stays_when_nobody_answers() {
    let world = world().start().await;
    let pr = world.proposed(GOOD).await;
    let path = format!("/{REPO}/pull/{pr}");
    let page = world.get(&path).await;
    for part in ["nobody in particular", "<option>carol</option>", "is left out", "canary_missing", "not_armed"] {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
    assert!(!page.contains("<th scope=\"row\">permission</th>"), "{page}");
    assert!(world.get(&format!("/{REPO}")).await.contains(&format!("href=\"{path}\"")), "the repository leads there");
    let run = world.run(pr, RunKind::Propose).await.id;
    assert!(world.get(&format!("/runs/{run}")).await.contains(&format!("href=\"{path}\"")), "and the run");
    let stranger = world.get(&format!("{path}?actor=%3Cscript%3E")).await;
    assert!(stranger.contains("could not be read") && !stranger.contains("<script>"), "{stranger}");
    assert!(stranger.contains(&format!("/runs/{run}")), "its runs are shown all the same");
    for nowhere in [format!("/{REPO}/pull/99"), format!("/{REPO}/pull/x"), "/acme/secret/pull/1".to_owned()] {
        assert!(world.get(&nowhere).await.contains("There is nothing here"), "{nowhere}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_learns_nothing_new_and_cannot_use_up_the_calls() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let before = world.github.calls().all().len();
    for (query, expected) in [
        ("command=promote".to_owned(), 400),
        (format!("pull={REPO}%23{pr}"), 400),
        (format!("pull={REPO}%23{pr}&command=status"), 400),
        (format!("pull={REPO}%23x&command=promote"), 400),
        (format!("pull={REPO}%23{pr}&repository={REPO}&command=promote"), 400),
        (format!("pull={REPO}%2399&command=promote"), 404),
        ("pull=acme/secret%231&command=promote".to_owned(), 404),
        (format!("pull={REPO}%23{pr}&command=promote&actor=alice"), 404),
    ] {
        let (status, answer) = ask(&world, &query).await;
        assert_eq!(status, expected, "{query}: {answer}");
        assert!(answer["type"].as_str().is_some_and(|kind| kind.starts_with("urn:titan:problem:")), "{answer}");
    }
    assert_eq!(world.github.calls().all().len(), before, "GitHub is asked nothing for them");
    sqlx::query(
        "INSERT INTO explanation_read (installation_id) SELECT i.id FROM installation i, generate_series(1, 60)",
    )
    .execute(world.store.pool())
    .await
    .expect("the store answers");
    let (status, answer) = ask(&world, &format!("pull={REPO}%23{pr}&command=promote")).await;
    assert_eq!((status, answer["type"].as_str()), (429, Some("urn:titan:problem:too-many-questions")));
    assert_eq!(world.github.calls().all().len(), before);
    world.end().await;
}
