//! Every row of `tests/src/attacks/`, sent to Curfew and to Envoy's own `jwt_authn` in one Envoy with the same keys.
//!
//! Both get the same bytes. Rows about paths go to Curfew alone, because `jwt_authn` has no such rules here.

use anyhow::{Result, bail};
use curfew_testbed::attacks::{Arena, Attack, Comparison, Mode, Row, rendered, rows};
use curfew_testbed::workspace;
use serde_json::{Value, json};

/// Measures, prints the table, and with `write` writes it into the repository.
pub(crate) fn measure(write: bool) -> Result<Value> {
    let arena = Arena::start(Mode::Strict)?;
    let rows = rows();
    let comparisons = rows.iter().map(|row| compare(&arena, row)).collect::<Result<Vec<_>>>()?;
    let page = rendered(&comparisons);
    println!("{page}");
    let asked = comparisons.iter().filter(|comparison| comparison.jwt_authn.is_some()).count();
    let differing = comparisons.iter().filter(|comparison| comparison.differs()).count();
    println!("{} rows; jwt_authn was asked {asked} and decides otherwise in {differing}.", rows.len());
    if write {
        std::fs::write(workspace::root().join("tests/attacks.md"), &page)?;
    }
    let list = rows.iter().zip(&comparisons).map(|(row, found)| {
        json!({
            "id": row.id, "section": row.section, "asks": row.asks, "expected": row.expected.text(),
            "curfew": found.curfew, "jwt_authn": found.jwt_authn, "differs": found.differs(),
        })
    });
    Ok(json!({"rows": list.collect::<Vec<_>>(), "jwt_authn_asked": asked, "differing": differing}))
}

fn compare(arena: &Arena, row: &Row) -> Result<Comparison> {
    let request = row.request(&arena.forge("alice"))?;
    let verdict = row.judge_at_filter(&request, &arena.stack.send(&request)?);
    if !verdict.met {
        bail!("{}: Curfew answers {}, not {}", row.id, verdict.answer, row.expected.text());
    }
    let jwt_authn = match row.attack {
        Attack::Target(_) => None,
        _ => Some(row.judge_at_filter(&request, &arena.ask_jwt_authn(&request)?).answer),
    };
    Ok(Comparison { id: row.id.clone(), curfew: verdict.answer, jwt_authn })
}
