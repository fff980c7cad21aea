//! One request with a token, and its judgement.

use std::time::Duration;

use super::Reply;

/// One request. Times are on the one clock of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Before the first byte was sent.
    pub started: Duration,
    /// After the answer was read, or given up.
    pub ended: Duration,
    /// The answer.
    pub reply: Reply,
    /// When the first logout of its token was begun, as known after the end.
    pub logout_begun: Option<Duration>,
    /// When a logout of its token had returned 200, as known after the end.
    pub logout_returned: Option<Duration>,
}

/// The state of a request's token, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No client had begun to log it out when the request ended.
    Live,
    /// The request overlaps the logout, so that any decision is right.
    Either,
    /// The logout had returned 200, and the published bound was over, when the request started.
    Dead,
}

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Admitted, though its token was dead.
    StaleAdmit,
    /// Refused with 401, though its token was live.
    WrongRefusal,
    /// Admitted or refused as it may be.
    Right,
    /// 503 or 504.
    Unavailable,
    /// Any other answer. None is expected.
    Strange,
    /// No answer.
    Unanswered,
}

impl Exchange {
    /// Where the token stands; `bound` is how long after the 200 it may still be admitted.
    pub fn standing(&self, bound: Duration) -> Standing {
        if self.logout_returned.is_some_and(|returned| returned + bound <= self.started) {
            Standing::Dead
        } else if self.logout_begun.is_none_or(|begun| begun > self.ended) {
            Standing::Live
        } else {
            Standing::Either
        }
    }

    /// Judges the answer by where the token stands.
    pub fn judge(&self, bound: Duration) -> Judgement {
        match (self.reply.status(), self.standing(bound)) {
            (Some(200), Standing::Dead) => Judgement::StaleAdmit,
            (Some(401), Standing::Live) => Judgement::WrongRefusal,
            (Some(200 | 401), _) => Judgement::Right,
            (Some(503 | 504), _) => Judgement::Unavailable,
            (Some(_), _) => Judgement::Strange,
            (None, _) => Judgement::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(status: Option<u16>, begun: Option<u64>, returned: Option<u64>) -> Exchange {
        let reply = status.map_or(Reply::none(), |status| Reply::new(status, ""));
        let time = |milliseconds: Option<u64>| milliseconds.map(Duration::from_millis);
        let [started, ended] = [100, 110].map(Duration::from_millis);
        Exchange { started, ended, reply, logout_begun: time(begun), logout_returned: time(returned) }
    }

    fn judged(status: Option<u16>, begun: Option<u64>, returned: Option<u64>) -> Judgement {
        exchange(status, begun, returned).judge(Duration::ZERO)
    }

    #[test]
    fn an_admission_after_the_logout_returned_is_stale_and_one_beside_it_is_not() {
        assert_eq!(judged(Some(200), Some(50), Some(100)), Judgement::StaleAdmit);
        assert_eq!(judged(Some(200), Some(50), Some(101)), Judgement::Right);
        assert_eq!(judged(Some(200), Some(50), None), Judgement::Right);
        assert_eq!(judged(Some(200), None, None), Judgement::Right);
    }

    #[test]
    fn an_admission_within_the_published_bound_is_not_stale() {
        let [just_within, just_over] = [41, 40].map(Duration::from_millis);
        let admitted = exchange(Some(200), Some(50), Some(60));
        assert_eq!((admitted.judge(just_within), admitted.standing(just_within)), (Judgement::Right, Standing::Either));
        assert_eq!((admitted.judge(just_over), admitted.standing(just_over)), (Judgement::StaleAdmit, Standing::Dead));
    }

    #[test]
    fn a_refusal_before_any_client_began_the_logout_is_wrong() {
        assert_eq!(judged(Some(401), None, None), Judgement::WrongRefusal);
        assert_eq!(judged(Some(401), Some(111), Some(120)), Judgement::WrongRefusal);
        assert_eq!(judged(Some(401), Some(110), None), Judgement::Right);
    }

    #[test]
    fn a_failure_is_no_refusal_and_no_admission() {
        assert_eq!(judged(Some(503), Some(40), Some(50)), Judgement::Unavailable);
        assert_eq!(judged(None, Some(40), Some(50)), Judgement::Unanswered);
        assert_eq!(judged(Some(404), None, None), Judgement::Strange);
    }
}
