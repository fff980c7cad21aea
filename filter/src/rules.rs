//! Which requests need a token, and what of the token: the operator's rules over method, path and host.
//!
//! An attacker writes the path, and the upstream may read it differently. So a rule that admits requests without a
//! token matches narrowly: only a path with one reading alone (see [`crate::paths`]), and no request that makes some
//! frameworks take another path or method. A rule that asks for a token matches widely, as many routers do: it decodes
//! escapes, and ignores case, a slash at the end, and a suffix for a format such as `.json`.

mod hosts;
mod path_match;
#[cfg(test)]
mod tests;

use curfew_core::{Fields, Object};
use serde_json::Value;

use crate::paths::Path;
use crate::preflight::is_preflight;
use crate::redirects::Redirects;
use crate::request::Request;
use crate::requirement::Requirement;

use path_match::PathMatch;

/// What a rule asks of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A good token, or 401.
    Require,
    /// A good token or none at all.
    Optional,
    /// Nothing; a token is not read.
    Skip,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Whether it needs a token.
    pub action: Action,
    /// Which of [`Rules::met_by`] its token must meet, a bit for each.
    pub claims: u64,
    /// True if it is let pass whatever is wrong with its token, and only reported.
    pub report_only: bool,
}

/// The rules by which a request is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The rules that apply, by their places in the configuration.
    pub rules: Vec<usize>,
    /// Why the request may be another one for a program behind Envoy. Then no rule opens anything, and what any rule asks of a
    /// token is asked.
    pub ambiguity: Option<Ambiguity>,
    /// The rules `skip` and `optional` that would match, and do not apply because of that.
    pub passed_over: Vec<usize>,
}

/// Why a request may be another one for a program behind Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguity {
    /// Programs may read the path in several ways.
    Path,
    /// A header or a parameter names another path or method.
    Redirect,
}

impl Demand {
    const TOKEN: Self = Self { action: Action::Require, claims: 0, report_only: false };

    /// True if a token that meets `met` lacks something.
    pub fn exceeds(self, met: u64) -> bool {
        self.claims & !met != 0
    }
}

/// The rules in order. The first rule that matches decides; a request that no rule matches needs a token.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    redirects: Redirects,
    /// What rules ask of a token; a rule names one by its bit.
    requirements: Vec<Requirement>,
    /// True if preflights need no token.
    preflights: bool,
}

#[derive(Debug)]
struct Rule {
    path: PathMatch,
    /// Empty matches every host.
    hosts: Vec<String>,
    /// Empty matches every method.
    methods: Vec<String>,
    action: Action,
    /// The bit of what it asks of a token, or 0.
    claims: u64,
    report_only: bool,
}

/// As many as a number has bits.
const MOST_REQUIREMENTS: usize = 64;

impl Rules {
    /// Whether a request needs a token.
    pub fn action(&self, request: &Request<'_>) -> Action {
        self.demand(request).action
    }

    /// What a request needs.
    ///
    /// A rule applies surely if it matches narrowly. Then it decides, and no later rule is looked at. A rule that asks
    /// for something also applies if some program may read the request as one that it matches: what it asks is asked
    /// in addition, and no later rule opens anything.
    pub fn demand(&self, request: &Request<'_>) -> Demand {
        self.demand_noting(request, |_| {})
    }

    /// The rules that [`Self::demand`] goes by, for people.
    pub fn applied(&self, request: &Request<'_>) -> Applied {
        let path = Path::new(request.target().split(|&byte| byte == b'?').next().unwrap_or_default());
        let ambiguity = self.ambiguity(request, &path);
        let mut noted: Vec<&Rule> = Vec::new();
        self.demand_noting(request, |rule| noted.push(rule));
        let applies = |rule: &Rule| {
            let asks_of_all = ambiguity.is_some() && rule.claims != 0;
            asks_of_all || noted.iter().any(|noted| std::ptr::eq(*noted, rule))
        };
        let would_open = |rule: &Rule| {
            let matches = || rule.matches(request, &path) || rule.matches_widely(request, &path);
            ambiguity.is_some() && rule.action != Action::Require && matches()
        };
        Applied { rules: self.places(applies), ambiguity, passed_over: self.places(would_open) }
    }

    /// The places of these rules in the configuration.
    fn places(&self, among: impl Fn(&Rule) -> bool) -> Vec<usize> {
        self.rules.iter().enumerate().filter(|(_, rule)| among(rule)).map(|(place, _)| place).collect()
    }

    fn ambiguity(&self, request: &Request<'_>, path: &Path<'_>) -> Option<Ambiguity> {
        let by_path = (!path.has_one_reading()).then_some(Ambiguity::Path);
        let by_header = || self.redirects.concern(request).then_some(Ambiguity::Redirect);
        by_path.or_else(by_header).filter(|_| !self.rules.is_empty())
    }

    /// `note` is told each rule that applies.
    fn demand_noting<'s>(&'s self, request: &Request<'_>, mut note: impl FnMut(&'s Rule)) -> Demand {
        if self.rules.is_empty() {
            return Demand::TOKEN;
        }
        let path = Path::new(request.target().split(|&byte| byte == b'?').next().unwrap_or_default());
        let has_one_meaning = || path.has_one_reading() && !self.redirects.concern(request);
        if !self.requirements.is_empty() && !has_one_meaning() {
            // Any rule may be the one that the upstream's reading needs.
            return Demand { claims: self.all_requirements(), ..Demand::TOKEN };
        }
        let mut demand = Demand { report_only: true, ..Demand::TOKEN };
        let mut closed = false;
        for rule in &self.rules {
            let sure = || rule.matches(request, &path) && has_one_meaning();
            let opens = rule.action != Action::Require;
            if opens && sure() {
                note(rule);
                demand.claims |= rule.claims;
                demand.report_only &= rule.report_only;
                demand.action = if closed { Action::Require } else { rule.action };
                return demand;
            }
            if (!opens || rule.claims != 0) && rule.matches_widely(request, &path) {
                note(rule);
                closed = true;
                demand.claims |= rule.claims;
                demand.report_only &= rule.report_only;
                if self.requirements.is_empty() && !rule.report_only {
                    return demand;
                }
                if sure() {
                    return demand;
                }
            }
        }
        Demand { report_only: false, ..demand }
    }

    /// What of the rules' requirements a token with these claims meets, a bit for each.
    pub fn met_by(&self, claims: &Object) -> u64 {
        let met = self.requirements.iter().enumerate().filter(|(_, requirement)| requirement.is_met_by(claims));
        met.fold(0, |met, (index, _)| met | bit(index))
    }

    fn all_requirements(&self) -> u64 {
        (0..self.requirements.len()).fold(0, |all, index| all | bit(index))
    }

    /// The same rules, of which none only reports.
    pub(crate) fn enforce(&mut self) {
        self.rules.iter_mut().for_each(|rule| rule.report_only = false);
    }

    /// True if some rule only reports.
    pub fn report_some(&self) -> bool {
        self.rules.iter().any(|rule| rule.report_only)
    }

    /// True if the request is a preflight, and preflights need no token.
    pub fn let_pass_as_preflight(&self, request: &Request<'_>) -> bool {
        self.preflights && is_preflight(request, &self.redirects)
    }

    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let values = fields.list("rules").unwrap_or_default();
        let (mut rules, mut requirements) = (Vec::new(), Vec::new());
        for (index, value) in values.iter().enumerate() {
            let path = fields.at(&format!("rules[{index}]"));
            rules.extend(Rule::read(path, value, &mut requirements, fields));
        }
        if requirements.len() > MOST_REQUIREMENTS {
            fields.wrong(
                "rules",
                format!("at most {MOST_REQUIREMENTS} different sets of claims and audiences can be required"),
            );
        }
        let preflights = fields.boolean("cors_preflight").unwrap_or(false);
        Self { rules, redirects: Redirects::read(fields), requirements, preflights }
    }
}

/// The bit of a requirement; the configuration has not more than there are bits.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

/// The bit of this requirement, which is added if it is new.
fn bit_of(requirement: Requirement, requirements: &mut Vec<Requirement>) -> u64 {
    let known = requirements.iter().position(|own| *own == requirement);
    bit(known.unwrap_or_else(|| {
        requirements.push(requirement);
        requirements.len().saturating_sub(1)
    }))
}

impl Rule {
    /// The path is compared as it was sent: a program that does not decode it must find it below the rule's path too.
    fn matches(&self, request: &Request<'_>, path: &Path<'_>) -> bool {
        self.has_method(|own| own.as_bytes() == request.method())
            && self.path.matches(path.raw())
            && hosts::match_narrowly(&self.hosts, request)
    }

    /// Routers run the handlers of GET for HEAD too, and some frameworks ignore the case of a method.
    fn matches_widely(&self, request: &Request<'_>, path: &Path<'_>) -> bool {
        let method = request.method();
        let same = |own: &str| own.as_bytes().eq_ignore_ascii_case(method);
        let head = method.eq_ignore_ascii_case(b"HEAD");
        self.has_method(|own| same(own) || (head && own == "GET"))
            && self.path.may_be(path)
            && hosts::may_be(&self.hosts, request)
    }

    fn has_method(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| matches(own))
    }

    fn read(
        path: String,
        value: &Value,
        requirements: &mut Vec<Requirement>,
        fields: &mut Fields<'_, '_>,
    ) -> Option<Self> {
        let read = |fields: &mut Fields<'_, '_>| {
            let actions = [("require", Action::Require), ("optional", Action::Optional), ("skip", Action::Skip)];
            let action = fields.choice("action", &actions);
            if !fields.has("action") {
                fields.wrong("action", "must be given: require, optional or skip");
            }
            let methods = fields.texts("methods").unwrap_or_default();
            if methods.iter().any(|method| !method.bytes().all(|byte| byte.is_ascii_uppercase())) {
                fields.wrong("methods", "must be methods in upper case, such as GET");
            }
            let hosts = fields.texts("hosts").unwrap_or_default();
            if !hosts.iter().all(|host| hosts::is_host(host)) {
                fields.wrong(
                    "hosts",
                    "must be host names in lower case without a port, such as a.example.com or *.example.com",
                );
            }
            let requirement = Requirement::read(fields);
            let report_only = fields.boolean("report_only").unwrap_or(false);
            if action == Some(Action::Skip) && (requirement.is_some() || report_only) {
                fields.wrong(
                    "action",
                    "skip looks at no token: claims, audiences and report_only belong to the other actions",
                );
            }
            let claims = requirement.map_or(0, |requirement| bit_of(requirement, requirements));
            let path = PathMatch::read(fields)?;
            Some(Self { path, hosts, methods, action: action?, claims, report_only })
        };
        Fields::read(path, value, fields.mistakes(), read).flatten()
    }
}
