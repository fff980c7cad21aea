//! As [`crate::scheduler`], with three plugins in one VM whose keys, modes and control planes differ. Listener updates
//! replace them, as Envoy does: a new plugin takes the new requests, and the earlier one goes when its last request has
//! ended. Beside the host's own rules, these hold:
//!
//! - An event of one plugin decides only about requests of that plugin, and about no more than a callback may.
//! - A request is admitted only by the key, the answers and the leases of the configuration that it arrived at.
//! - Each request that waits gets its decision, also in a configuration that has been replaced.
//! - A request that waits in a plugin that the host removes too early never goes on.

mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use curfew_core::wire::{FEED_PATH, FeedRequest, FeedRevocation};
use curfew_core::{Kind, RevocationKey};
use curfew_filter::gate::RELEASED_AT_ONCE;
use curfew_testbed::wasm_host::{Callout, Host, Outcome, Plugin, START, StreamId};

use crate::endings::ENDINGS;
use crate::feed::body;
use crate::served::{SECRETS, Served, Token, setup};
use crate::stage::{Living, Stage, World, run, runs};
use crate::support::{bearer, get, refusal, verdict};

const SEEDS: u64 = 4;
const STEPS: usize = 2_000;

/// How many plugins serve new requests.
const PLUGINS: usize = 3;

/// Far longer than a worker takes to give up all that is under way.
const SURELY_AT_REST: Duration = Duration::from_secs(60);

/// Callouts beyond this number get lost, the oldest first.
const MOST_CALLOUTS: usize = 40;

/// Each plugin has caches and a copy of its own. What a plugin held is used again when it has gone.
const GROWTH: usize = 8 * 65_536;

/// A callout as it has arrived at its control plane.
struct UnderWay {
    served: usize,
    sent: Duration,
    asks: Asks,
}

enum Asks {
    Page(FeedRequest),
    Verdict(RevocationKey),
}

#[derive(Debug, Default)]
struct Tried {
    admitted: usize,
    foreign: usize,
    revoked: usize,
    unavailable: usize,
    answered: usize,
    /// Callbacks that released as many requests as they may.
    full_portions: usize,
    updates: usize,
    removed_early: usize,
}

struct Shared {
    stage: Stage,
    tokens: Vec<Token>,
    served: Vec<Served>,
    /// The configurations that serve new requests.
    serving: Vec<usize>,
    /// Plugins that the host has not removed.
    plugins: BTreeSet<Plugin>,
    /// The configuration that each request arrived at.
    at: BTreeMap<StreamId, usize>,
    under_way: BTreeMap<u32, UnderWay>,
    tried: Tried,
}

impl World for Shared {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play(&mut self) -> Result<()> {
        let moment = self.stage.dice.moment();
        match self.stage.dice.roll(200) {
            0..60 => self.request()?,
            60..125 => (0..3).try_for_each(|_| self.end_a_callout())?,
            125..135 => self.stage.lose_client()?,
            135..165 => self.tick_some()?,
            165..180 => self.stage.pass(moment),
            180..184 => self.log_out(),
            184..187 => self.stage.break_something(),
            187..191 => self.stage.heal(),
            191 => self.stage.pass(Duration::from_secs(6)),
            192..195 => self.update_listener()?,
            195 => self.reconfigure()?,
            196 => self.remove_early()?,
            _ => self.drain()?,
        }
        self.look()?;
        self.remove_idle()
    }

    fn drain(&mut self) -> Result<()> {
        let begun = self.stage.now;
        while let Some(period) = self.stage.host.shortest_tick() {
            self.stage.pass(period);
            for plugin in self.plugins.clone() {
                self.tick(plugin)?;
            }
            ensure!(self.stage.now - begun < SURELY_AT_REST, "the filter still wants ticks");
        }
        self.stage.all_are_settled()
    }
}

impl Shared {
    fn new(seed: u64) -> Result<Self> {
        // The first two have the same key, and differ only in their control planes.
        let specs = [(0, true), (0, true), (1, false)];
        let mut host = Host::start(&setup(0, specs[0].0, specs[0].1))?;
        let mut served = Vec::new();
        for (number, (secret, strict)) in specs.into_iter().enumerate() {
            let plugin = match number {
                0 => Plugin::FIRST,
                _ => host.add(&setup(number, secret, strict))?.context("refused")?,
            };
            served.push(Served::new(plugin, secret, strict));
        }
        Ok(Self {
            stage: Stage::new(host, seed),
            tokens: Vec::new(),
            plugins: served.iter().map(|served| served.plugin).collect(),
            served,
            serving: (0..PLUGINS).collect(),
            at: BTreeMap::new(),
            under_way: BTreeMap::new(),
            tried: Tried::default(),
        })
    }

    /// The numbers of the youngest tokens that this configuration can prove.
    fn fitting(&self, served: usize) -> Vec<usize> {
        let youngest = self.tokens.len().saturating_sub(12)..self.tokens.len();
        youngest.filter(|token| self.tokens[*token].secret == self.served[served].secret).collect()
    }

    fn request(&mut self) -> Result<()> {
        if self.tokens.len() < 6 || self.stage.dice.roll(20) == 0 {
            self.tokens.push(Token::new(self.tokens.len() % SECRETS.len())?);
        }
        let served = self.serving[self.stage.dice.roll(PLUGINS)];
        let fitting = self.fitting(served);
        let any = self.stage.dice.roll(self.tokens.len());
        let fits = self.stage.dice.roll(8) > 0;
        let token = self.stage.dice.pick(&fitting).filter(|_| fits).unwrap_or(any);
        let bearer = bearer(&self.tokens[token].text);
        for _ in 0..self.stage.burst() {
            let headers = get("/orders", &[("authorization", bearer.as_bytes())]);
            let (stream, _) = self.stage.host.request_through(self.served[served].plugin, &headers)?;
            let (arrived, arrived_step) = (self.stage.now, self.stage.step);
            self.stage.living.push(Living { stream, token, arrived, arrived_step, decided: false });
            self.at.insert(stream, served);
            self.learn()?;
        }
        Ok(())
    }

    /// New callouts arrive at the control plane that they name.
    fn learn(&mut self) -> Result<()> {
        let callouts = self.stage.host.callouts();
        for callout in
            callouts.iter().filter(|callout| !self.under_way.contains_key(&callout.token)).collect::<Vec<_>>()
        {
            let under_way = self.arrives(callout)?;
            self.under_way.insert(callout.token, under_way);
        }
        for oldest in callouts.iter().take(callouts.len().saturating_sub(MOST_CALLOUTS)) {
            self.stage.host.lose(oldest.token);
        }
        Ok(())
    }

    fn arrives(&mut self, callout: &Callout) -> Result<UnderWay> {
        let authority = callout.headers.get(":authority").context("an authority")?;
        let served: usize = authority.trim_end_matches(".internal").parse()?;
        let configuration = self.served.get_mut(served).context("no such control plane")?;
        ensure!(callout.plugin == configuration.plugin, "another plugin asks {authority}");
        let asks = if callout.headers.get(":path").as_deref() == Some(FEED_PATH) {
            let poll = crate::feed::request(callout)?;
            configuration.plane.arrives(&poll)?;
            Asks::Page(poll)
        } else {
            Asks::Verdict(callout.json()["token"].as_str().context("a question names its token")?.parse()?)
        };
        Ok(UnderWay { served, sent: self.stage.now, asks })
    }

    /// A callout gets an answer of its control plane, or another end.
    fn end_a_callout(&mut self) -> Result<()> {
        self.look()?;
        let calls: Vec<u32> = self.stage.host.callouts().iter().map(|callout| callout.token).collect();
        let youngest = &calls[calls.len().saturating_sub(15)..];
        let Some(call) = self.stage.dice.pick(youngest) else { return Ok(()) };
        let UnderWay { served, sent, asks } = self.under_way.remove(&call).context("a callout that was not seen")?;
        let before = self.waiting();
        if self.stage.dice.roll(8) == 0 {
            // Any end but the first three, which are verdicts.
            let ending = &ENDINGS[3 + self.stage.dice.roll(ENDINGS.len() - 3)];
            (ending.end)(&mut self.stage.host, call).with_context(|| ending.name)?;
        } else {
            let answer = self.answer(served, sent, &asks);
            self.stage.host.answer(call, 200, &answer)?;
        }
        self.released(&before, &[served].into())?;
        self.learn()
    }

    fn answer(&mut self, served: usize, sent: Duration, asks: &Asks) -> Vec<u8> {
        let now = self.stage.now;
        let configuration = &mut self.served[served];
        match asks {
            Asks::Page(poll) => body(&configuration.plane.page(poll, sent, now)),
            Asks::Verdict(token) if configuration.plane.is_logged_out(token) => verdict("revoked"),
            Asks::Verdict(token) => {
                configuration.active.push((*token, sent, now));
                verdict("active")
            }
        }
    }

    /// The requests that wait.
    fn waiting(&self) -> Vec<StreamId> {
        self.stage.living.iter().filter(|living| !living.decided).map(|living| living.stream).collect()
    }

    /// Checks which of these requests one callback has decided about: those of these configurations only, and few.
    fn released(&mut self, before: &[StreamId], of: &BTreeSet<usize>) -> Result<()> {
        let mut count = 0;
        for stream in before {
            if self.stage.host.outcome(*stream)? != Outcome::Paused {
                ensure!(of.contains(&self.at[stream]), "decided by an event of another configuration");
                count += 1;
            }
        }
        ensure!(count <= RELEASED_AT_ONCE, "{count} requests released in one callback");
        self.tried.full_portions += usize::from(count == RELEASED_AT_ONCE);
        Ok(())
    }

    fn tick_some(&mut self) -> Result<()> {
        let plugins: Vec<Plugin> = self.plugins.iter().copied().collect();
        self.stage.dice.pick(&plugins).map_or(Ok(()), |plugin| self.tick(plugin))
    }

    fn tick(&mut self, plugin: Plugin) -> Result<()> {
        self.look()?;
        let before = self.waiting();
        self.stage.host.tick_of(plugin)?;
        let own = (0..self.served.len()).filter(|served| self.served[*served].plugin == plugin).collect();
        self.released(&before, &own)?;
        self.learn()
    }

    fn log_out(&mut self) {
        let served = self.serving[self.stage.dice.roll(PLUGINS)];
        let alive = |token: &usize| !self.served[served].plane.is_logged_out(&self.tokens[*token].key);
        let alive: Vec<usize> = self.fitting(served).into_iter().filter(alive).collect();
        // Some tokens stay alive, so that requests can be admitted.
        let Some(token) = self.stage.dice.pick(alive.get(2..).unwrap_or_default()) else { return };
        let key = self.tokens[token].key;
        let logout = FeedRevocation { kind: Kind::Token, key, cutoff: START, expires_at: START + 2_000_000 };
        self.served[served].plane.log_out(logout);
    }

    /// Checks the requests that were decided since the last time.
    fn look(&mut self) -> Result<()> {
        self.learn()?;
        for place in 0..self.stage.living.len() {
            if self.stage.living[place].decided {
                continue;
            }
            let outcome = self.stage.host.outcome(self.stage.living[place].stream)?;
            self.stage.living[place].decided = outcome != Outcome::Paused;
            let living = self.stage.living[place].clone();
            self.judge(&living, &outcome)?;
        }
        self.stage.close_oldest()?;
        let (now, step) = (self.stage.now, self.stage.step);
        let answered = self.served.iter_mut().map(|served| served.plane.answer_logouts(now, step));
        self.tried.answered += answered.sum::<usize>();
        Ok(())
    }

    fn judge(&mut self, living: &Living, outcome: &Outcome) -> Result<()> {
        let (served, token) = (&self.served[self.at[&living.stream]], &self.tokens[living.token]);
        let fits = token.secret == served.secret;
        match outcome {
            Outcome::Paused => {}
            Outcome::Continued { .. } => {
                ensure!(fits, "admitted by the key of another plugin");
                ensure!(served.vouches(living, token), "admitted without an answer or a lease of its control plane");
                let answered = served.plane.answered(&token.key).filter(|_| served.strict);
                ensure!(answered.is_none_or(|step| living.arrived_step <= step), "admitted after its logout");
                self.tried.admitted += 1;
            }
            Outcome::LocalReply { .. } => match refusal(outcome)? {
                (503, _) => self.tried.unavailable += 1,
                (401, code) if code == "token_invalid" && !fits => self.tried.foreign += 1,
                (401, code) if code == "token_revoked" && served.plane.is_logged_out(&token.key) => {
                    self.tried.revoked += 1;
                }
                other => bail!("{other:?}, and its key fits: {fits}"),
            },
        }
        Ok(())
    }
}

#[test]
fn in_any_order_plugins_of_one_vm_decide_by_what_is_their_own() {
    let (seeds, steps) = runs(SEEDS, STEPS);
    for seed in seeds {
        let mut world = Shared::new(seed).unwrap();
        let grown = run(&mut world, steps, GROWTH);
        let grown = grown.unwrap_or_else(|error| panic!("CURFEW_HOSTILE_SEED={seed}: {error:#}"));
        let metrics = world.stage.host.metrics();
        let copy: u64 =
            metrics.iter().filter(|(name, _)| name == "curfew_replica_decided").map(|(_, value)| value).sum();
        let tried = &world.tried;
        println!("seed {seed}: {tried:?}, {copy} decided by copies, memory grew by {grown} bytes");
        let enough = tried.admitted > 100 && tried.foreign > 20 && tried.revoked > 20 && tried.unavailable > 100;
        assert!(enough && copy > 50 && tried.answered > 3, "seed {seed}: {tried:?}, {copy}: nothing was tried");
        assert!(tried.full_portions > 3 && tried.updates > 10, "seed {seed}: {tried:?}: nothing was tried");
    }
}
