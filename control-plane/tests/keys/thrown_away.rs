//! Answers that do not count: a later question has overtaken them, or there is no room for what they list.

use curfew_control_plane::keys::RefreshFailure;
use curfew_control_plane::store::keys::KeysChange;
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::{Value, json};

use super::scene::{Plane, Scene, until};

type Refreshed = Result<KeysChange, RefreshFailure>;

fn signers<const N: usize>(kids: [&str; N]) -> [Signer; N] {
    kids.map(|kid| Signer::named(kid).unwrap())
}

/// A list that has no room: these keys, and so many others with long names that the set is too large.
fn too_large(keys: &[&Signer]) -> Value {
    let mut list = jwks(keys.iter().copied());
    let x = list["keys"][0]["x"].clone();
    let kid = "k".repeat(1_200);
    let many = (0..240).map(|number| json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("{number}{kid}"), "x": x}));
    list["keys"].as_array_mut().unwrap().extend(many);
    list
}

/// Both control planes are to ask the issuer. So many times the slow one gets its answer only after the quick one has had one.
/// The issuer lists `slow_gets` when the slow one asks, and then `quick_gets`.
async fn overtaken(
    scene: &Scene,
    [slow, quick]: [&Plane; 2],
    times: usize,
    [slow_gets, quick_gets]: [&Value; 2],
) -> Refreshed {
    scene.issuer.lists(slow_gets);
    scene.issuer.holds_next();
    let overtake = async {
        for time in 1..=times {
            until("the slow one asks", async || scene.issuer.held() == 1).await;
            scene.issuer.lists(quick_gets);
            quick.refresh().await.unwrap();
            if time < times {
                scene.issuer.lists(slow_gets);
                scene.issuer.holds_next();
            }
            scene.issuer.lets_go();
        }
    };
    tokio::join!(slow.refresh(), overtake).0
}

/// The clock of the story stands still, so both questions begin in the same second.
#[tokio::test]
async fn an_overtaken_answer_does_not_bring_a_dropped_key_back() {
    let scene = Scene::new().await;
    let [one, two, three] = signers(["one", "two", "three"]);
    let (slow, quick) = (scene.plane().await, scene.plane().await);
    let [before, after] = [jwks([&one, &two, &three]), jwks([&two])];
    scene.issuer.lists(&jwks([&one, &two]));
    slow.refresh().await.unwrap();
    assert_eq!(slow.in_force(), ["one", "two"]);
    let ended = overtaken(&scene, [&slow, &quick], 1, [&before, &after]).await;
    assert_eq!(ended, Ok(KeysChange::Same), "it has asked again, and found what the other one has found");
    assert_eq!(scene.issuer.fetches(), 4);
    for plane in [&slow, &quick] {
        assert_eq!(plane.refresh().await, Ok(KeysChange::Same));
        assert_eq!(plane.in_force(), ["two"]);
    }
}

#[tokio::test]
async fn a_question_that_is_overtaken_again_and_again_is_no_success() {
    let scene = Scene::new().await;
    let [one, two] = signers(["one", "two"]);
    let (slow, quick) = (scene.plane().await, scene.plane().await);
    let [before, after] = [jwks([&one, &two]), jwks([&two])];
    let ended = overtaken(&scene, [&slow, &quick], 3, [&before, &after]).await;
    assert_eq!(ended, Ok(KeysChange::Overtaken));
    assert_eq!((scene.issuer.fetches(), slow.keys.reports().await.unwrap().keys_seq), (6, 1));
}

/// The issuer's caches differ: a list without the dropped key is thrown away, and then an old one comes in force.
#[tokio::test]
async fn the_name_of_an_overtaken_list_is_not_shown_to_the_issuer() {
    let scene = Scene::new().await;
    let [one, two] = signers(["one", "two"]);
    let (slow, quick) = (scene.plane().await, scene.plane().await);
    let [old, new] = [jwks([&one, &two]), jwks([&two])];
    scene.issuer.lists(&old);
    for plane in [&slow, &quick] {
        plane.refresh().await.unwrap();
    }
    let ended = overtaken(&scene, [&slow, &quick], 3, [&new, &old]).await;
    assert_eq!(ended, Ok(KeysChange::Overtaken));
    assert_eq!(slow.in_force(), ["one", "two"]);
    let unchanged = scene.issuer.unchanged();
    scene.issuer.lists(&new);
    assert!(matches!(slow.refresh().await, Ok(KeysChange::Changed { .. })));
    assert_eq!((slow.in_force(), scene.issuer.unchanged()), (vec!["two".to_owned()], unchanged));
}

#[tokio::test]
async fn a_list_that_has_no_room_does_not_keep_dropped_keys_and_is_never_taken_for_known() {
    let scene = Scene::new().await;
    let [one, two, three] = signers(["one", "two", "three"]);
    scene.issuer.lists(&jwks([&one, &two]));
    let plane = scene.plane().await;
    plane.refresh().await.unwrap();
    scene.issuer.lists(&too_large(&[&two, &three]));
    for _ in 0..3 {
        let refreshed = plane.refresh().await;
        assert!(matches!(refreshed, Ok(KeysChange::NoRoom { .. })), "{refreshed:?}");
        assert_eq!(plane.in_force(), ["two"], "what is dropped goes, and nothing comes");
    }
    assert_eq!((scene.issuer.fetches(), scene.issuer.unchanged()), (4, 0));
    let told = scene.log.with("have no room and do not come in force");
    assert_eq!(told.len(), 1, "{told:?}");
    // A restart asks for the whole list, too.
    let again = scene.plane().await;
    assert!(matches!(again.refresh().await, Ok(KeysChange::NoRoom { .. })));
    scene.issuer.lists(&jwks([&three]));
    assert!(matches!(again.refresh().await, Ok(KeysChange::Changed { .. })));
    assert_eq!(again.in_force(), ["three"]);
}

#[tokio::test]
async fn a_token_does_not_have_an_issuer_asked_that_wants_to_be_left_alone() {
    let scene = Scene::new().await;
    let [one] = signers(["one"]);
    scene.issuer.answers("429 Too Many Requests", &["retry-after: 60"]);
    // Each is another control plane, which has asked nobody yet.
    let demand = async || scene.plane().await.keys.demand(0).await;
    demand().await;
    assert_eq!(scene.issuer.fetches(), 1);
    for seconds in [0, 30, 29] {
        scene.advance(seconds);
        demand().await;
        assert_eq!(scene.issuer.fetches(), 1, "{seconds}");
    }
    scene.issuer.lists(&jwks([&one]));
    scene.advance(1);
    demand().await;
    assert_eq!(scene.issuer.fetches(), 2);
    assert_eq!(scene.plane().await.in_force(), ["one"]);
    // An operator is not kept waiting.
    scene.issuer.answers("429 Too Many Requests", &["retry-after: 60"]);
    for fetches in [3, 4] {
        assert!(scene.plane().await.refresh().await.is_err());
        assert_eq!(scene.issuer.fetches(), fetches);
    }
}
