//! All rows through a real Envoy with the shipped filter. After each batch, its VMs are still the same.

use curfew_testbed::attacks::{Mode, Row, rows};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::http2;

use crate::shared::{alone, arena, arena_in};

/// Plays every row that `send` can send, and returns how many those were.
fn play(mode: Mode, send: impl Fn(&Row, &Request) -> Option<anyhow::Result<Answer>>) -> usize {
    let (arena, _alone) = (arena_in(mode), alone());
    let rows = rows();
    let mut sections: Vec<&str> = rows.iter().map(|row| row.section).collect();
    sections.dedup();
    let mut wrong = Vec::new();
    let mut played = 0;
    for section in sections {
        let before = arena.standing().unwrap();
        for row in rows.iter().filter(|row| row.section == section) {
            let request = row.request(&arena.forge("alice")).unwrap();
            let Some(answer) = send(row, &request) else { continue };
            played += 1;
            match answer {
                Ok(answer) => {
                    let verdict = row.judge_at_filter(&request, &answer);
                    if !verdict.met {
                        wrong.push(format!(
                            "{}: {} instead of {:?} {:?}",
                            row.id, verdict.answer, row.expected, row.behind_envoy
                        ));
                    }
                }
                Err(error) => wrong.push(format!("{}: {error:#} instead of {:?}", row.id, row.expected)),
            }
        }
        let after = arena.standing().unwrap();
        assert_eq!(after, before, "a VM died of {section}");
        assert_eq!(after.failures(), []);
        // Both workers, because Envoy spreads connections over them.
        for _ in 0..8 {
            let good = Request::get("/orders").bearer(&arena.forge("alice").good());
            assert_eq!(arena.stack.send(&good).unwrap().status, 200, "after {section}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    played
}

#[test]
fn every_row_gets_its_answer_over_http1() {
    let address = arena().stack.address();
    let played = play(Mode::Strict, |_, request| Some(request.send(address)));
    assert_eq!(played, rows().len());
}

#[test]
fn every_row_gets_the_same_where_answers_are_remembered() {
    let address = arena_in(Mode::Bounded).stack.address();
    let played = play(Mode::Bounded, |_, request| Some(request.send(address)));
    assert_eq!(played, rows().len());
}

#[test]
fn every_row_that_http2_can_say_gets_the_same_over_http2() {
    let address = arena().stack.address();
    let say = |_: &Row, request: &Request| http2::can_say(address, request).then(|| http2::send(address, request));
    let played = play(Mode::Strict, say);
    assert!(played * 10 > rows().len() * 9, "only {played} rows were said in HTTP/2");
}
