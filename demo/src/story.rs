//! The demo's story: two devices, logouts of all kinds, and what a client sees before and after each.
//!
//! The story prints every request as a command for curl, with the answer below it, and compares the answer with the
//! expected one. It does not stop at the first wrong answer, because a person wants to see the rest too.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::stack::Stack;
use crate::token::{claims, now, sign};
use crate::upstream::echoed_header;

/// Requests sent after the bound to show that every worker of Envoy refuses.
const PROOFS: u32 = 20;

/// After this time beyond the bound, a refusal that has not come counts as missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer that a request must get.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// 200 from the upstream, which saw this user in `x-user-id`.
    Admitted(&'a str),
    /// 200 from the control plane with this `message`.
    Done(&'a str),
    /// The same from `lgt-all`, which says how many known tokens were alive.
    DoneTo(&'a str, u64),
    /// This status, with a problem document of this `code`.
    Refused(u16, &'a str),
}

impl Expected<'_> {
    /// True if the answer is the expected one.
    pub fn is_met_by(self, answer: &Answer) -> bool {
        match self {
            Self::Admitted(user) => {
                answer.status == 200 && echoed_header(&answer.json(), "x-user-id").as_deref() == Some(user)
            }
            Self::Done(message) => answer.status == 200 && answer.json() == json!({ "message": message }),
            Self::DoneTo(message, tokens) => {
                answer.status == 200 && answer.json() == json!({ "message": message, "tokens": tokens, "known": true })
            }
            Self::Refused(status, code) => answer.status == status && answer.code() == code,
        }
    }
}

/// A token with the name it has in the printed lines.
#[derive(Debug)]
struct Device {
    name: &'static str,
    token: String,
}

/// Plays the story on a running stack.
#[derive(Debug)]
pub struct Story<'a, W> {
    stack: &'a Stack,
    /// The secret of the demo's issuer.
    secret: String,
    /// How long a token may live after its logout's 200: nothing in strict mode.
    bound: Duration,
    out: W,
    wrong: usize,
    first_refusals: Vec<Duration>,
    /// Requests that were admitted although they began after their token's logout had returned 200.
    late: u32,
    /// The longest time between a logout's 200 and the start of such a request.
    refused_after: Duration,
}

impl<'a, W: Write> Story<'a, W> {
    /// A story on this stack, told to `out`.
    ///
    /// # Errors
    /// If the stack's settings have no token secret, or its filter is in bounded mode without a `max_staleness`.
    pub fn new(stack: &'a Stack, filter: &Value, out: W) -> Result<Self> {
        let secret = stack.settings.required("JWT_SECRET")?.to_owned();
        let bound = match filter.get("consistency").and_then(Value::as_str) {
            Some("bounded") => {
                let bound = filter.get("max_staleness").and_then(Value::as_str);
                humantime::parse_duration(bound.context("the filter has no max_staleness")?)?
            }
            _ => Duration::ZERO,
        };
        Ok(Self {
            stack,
            secret,
            bound,
            out,
            wrong: 0,
            first_refusals: Vec::new(),
            late: 0,
            refused_after: Duration::ZERO,
        })
    }

    /// Plays it.
    ///
    /// # Errors
    /// If an answer was not the expected one, or there was none.
    pub fn play(mut self) -> Result<()> {
        self.heading("Alice logs in on two devices")?;
        let (phone, laptop) = (self.log_in("PHONE", "alice")?, self.log_in("LAPTOP", "alice")?);
        self.ask(&phone, Expected::Admitted("alice"))?;
        self.ask(&laptop, Expected::Admitted("alice"))?;
        self.without_a_token()?;

        self.heading("She logs out on the phone")?;
        let done = self.log_out("/api/v2/logout", &phone, "Successfully Logged Out.")?;
        self.is_refused_from_now_on(&phone, done)?;
        self.ask(&laptop, Expected::Admitted("alice"))?;

        self.heading("She logs out on all devices")?;
        let message = "Successfully Logged Out From All Device.";
        let done = self.log_out("/api/v2/logout-all-device", &laptop, message)?;
        self.is_refused_from_now_on(&laptop, done)?;
        self.ask(&phone, Expected::Refused(401, "token_revoked"))?;

        self.heading("She logs in again")?;
        let tablet = self.log_in("TABLET", "alice")?;
        self.ask(&tablet, Expected::Admitted("alice"))?;

        self.heading("A backend logs her out, first with a wrong key")?;
        // This token is never registered. If it were issued in the second of the last logout, Curfew could not know that it
        // is newer, and would refuse it.
        let second = now();
        while now() <= second {
            std::thread::sleep(Duration::from_millis(20));
        }
        let unregistered = self.issue("UNREGISTERED", "alice");
        self.ask(&unregistered, Expected::Admitted("alice"))?;
        self.log_out_by_backend("a-wrong-key", Expected::Refused(401, "credentials_invalid"))?;
        self.ask(&tablet, Expected::Admitted("alice"))?;
        let key = self.stack.settings.required("APP_KEY")?.to_owned();
        let done = self.log_out_by_backend(&key, Expected::DoneTo(message, 1))?;
        self.is_refused_from_now_on(&tablet, done)?;
        writeln!(self.out, "   and the token that Curfew was never told about:")?;
        self.ask(&unregistered, Expected::Refused(401, "token_revoked"))?;
        self.ending()
    }

    fn heading(&mut self, title: &str) -> Result<()> {
        Ok(writeln!(self.out, "\n== {title}")?)
    }

    /// A token as the issuer makes it.
    fn issue(&self, name: &'static str, user: &str) -> Device {
        Device { name, token: sign(&self.secret, &claims(user)) }
    }

    /// A token that the login service also registers.
    fn log_in(&mut self, name: &'static str, user: &str) -> Result<Device> {
        let device = self.issue(name, user);
        let address = self.stack.control_plane.internal();
        writeln!(
            self.out,
            "   $ curl -X POST http://{address}/internal/v1/tokens -H \"Authorization: Bearer $INTERNAL_SECRET\" \
             -H \"Content-Type: application/json\" \
             -d '{{\"tokens\":[{{\"token\":\"'${name}'\"}}]}}'"
        )?;
        let answer = self.stack.control_plane.register(&[&device.token])?;
        let met = answer.status == 200 && answer.json() == json!({"registered": 1, "known": 0, "revoked": 0});
        self.show(&answer, met)?;
        Ok(device)
    }

    /// A request for the protected service.
    fn ask(&mut self, device: &Device, expected: Expected<'_>) -> Result<()> {
        let address = self.stack.address();
        let name = device.name;
        writeln!(self.out, "   $ curl http://{address}/orders -H \"Authorization: Bearer ${name}\"")?;
        let answer = self.stack.send(&orders(device))?;
        self.judge(&answer, expected)
    }

    fn without_a_token(&mut self) -> Result<()> {
        writeln!(self.out, "   $ curl http://{}/orders", self.stack.address())?;
        let answer = self.stack.send(&Request::get("/orders"))?;
        self.judge(&answer, Expected::Refused(401, "token_missing"))
    }

    /// Logs a user out with a token. Returns the moment at which the answer was there.
    fn log_out(&mut self, path: &str, device: &Device, message: &str) -> Result<Instant> {
        let (address, name) = (self.stack.address(), device.name);
        writeln!(self.out, "   $ curl -X POST http://{address}{path} -H \"Authorization: Bearer ${name}\"")?;
        let answer = self.stack.send(&Request::post(path).bearer(&device.token))?;
        let done = Instant::now();
        self.judge(&answer, Expected::Done(message))?;
        Ok(done)
    }

    /// Logs Alice out as a backend does. Returns the moment at which the answer was there.
    fn log_out_by_backend(&mut self, key: &str, expected: Expected<'_>) -> Result<Instant> {
        let address: SocketAddr = self.stack.control_plane.internal();
        let app = self.stack.settings.required("APP_ID")?;
        let body = json!({"user_id": "alice", "app_id": app, "app_key": key});
        let shown = json!({"user_id": "alice", "app_id": app, "app_key": "..."});
        writeln!(
            self.out,
            "   $ curl -X POST http://{address}/api/v2/lgt-all -H \"Content-Type: application/json\" -d '{shown}'"
        )?;
        let answer = Request::post("/api/v2/lgt-all").json(&body).send(address)?;
        let done = Instant::now();
        self.judge(&answer, expected)?;
        Ok(done)
    }

    /// Measures the time to the first refusal after a logout, then shows that every request after the bound is refused. In
    /// strict mode, the first request must be refused.
    fn is_refused_from_now_on(&mut self, device: &Device, logged_out: Instant) -> Result<()> {
        let expected = Expected::Refused(401, "token_revoked");
        let (address, name) = (self.stack.address(), device.name);
        let until = if self.bound.is_zero() { "" } else { "   # until refused" };
        writeln!(self.out, "   $ curl http://{address}/orders -H \"Authorization: Bearer ${name}\"{until}")?;
        let (answer, after) = self.first_refusal(device, logged_out)?;
        self.judge(&answer, expected)?;
        self.first_refusals.push(after);
        thread::sleep((logged_out + self.bound).saturating_duration_since(Instant::now()));
        let mut refused = 0;
        for _ in 0..PROOFS {
            refused += u32::from(expected.is_met_by(&self.stack.send(&orders(device))?));
        }
        self.wrong += usize::from(refused != PROOFS);
        let told = if self.bound.is_zero() {
            format!("admitted after the logout's 200: {}; then {refused} of {PROOFS} refused", self.late)
        } else {
            let (after, bound) = (after.as_secs_f64() * 1e3, humantime::format_duration(self.bound));
            format!(
                "first refusal {after:.1} ms after the 200; after max_staleness ({bound}): {refused} of {PROOFS} refused"
            )
        };
        Ok(writeln!(self.out, "     {told}")?)
    }

    fn first_refusal(&mut self, device: &Device, logged_out: Instant) -> Result<(Answer, Duration)> {
        loop {
            let asked = logged_out.elapsed();
            let answer = self.stack.send(&orders(device))?;
            let after = logged_out.elapsed();
            if answer.status != 200 {
                return Ok((answer, after));
            }
            self.late += 1;
            self.refused_after = self.refused_after.max(asked);
            self.wrong += usize::from(after > self.bound);
            if after > self.bound + PATIENCE {
                bail!("{} is still admitted {after:?} after its logout", device.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn judge(&mut self, answer: &Answer, expected: Expected<'_>) -> Result<()> {
        let met = expected.is_met_by(answer);
        self.show(answer, met)?;
        if !met {
            writeln!(self.out, "     EXPECTED {expected:?}")?;
        }
        Ok(())
    }

    fn show(&mut self, answer: &Answer, met: bool) -> Result<()> {
        self.wrong += usize::from(!met);
        let mark = if met { ' ' } else { '!' };
        writeln!(self.out, "   {mark} {} {}", answer.status, summary(answer))?;
        Ok(())
    }

    fn ending(mut self) -> Result<()> {
        let slowest = self.first_refusals.iter().max().copied().unwrap_or_default();
        if self.bound.is_zero() {
            let (after, logouts) = (self.refused_after.as_secs_f64() * 1e3, self.first_refusals.len());
            writeln!(
                self.out,
                "\nTime to refusal: {after} ms. Requests admitted after {logouts} logouts' 200: {}.",
                self.late
            )?;
        } else {
            let (slowest, bound) = (slowest.as_secs_f64() * 1e3, humantime::format_duration(self.bound));
            writeln!(self.out, "\nSlowest first refusal: {slowest:.1} ms (bounded mode: {bound}).")?;
        }
        if self.wrong > 0 {
            bail!("{} answers were not the expected ones", self.wrong);
        }
        writeln!(self.out, "Every answer was the expected one.")?;
        Ok(())
    }
}

fn orders(device: &Device) -> Request {
    Request::get("/orders").bearer(&device.token)
}

/// One line for a person. Of an echo only what matters; other answers as they are.
fn summary(answer: &Answer) -> String {
    let body = answer.json();
    match (body.get("method").and_then(Value::as_str), body.get("path").and_then(Value::as_str)) {
        (Some(method), Some(path)) => {
            let user = echoed_header(&body, "x-user-id").unwrap_or_else(|| "nobody".into());
            format!("the upstream saw {method} {path} with x-user-id: {user}")
        }
        _ => answer.text(),
    }
}
