//! Attacks that are not rows, because each takes several requests, a certain moment, or a part that fails.

/// An attack and the test that plays it, by the name of its function.
pub const STORIES: &[(&str, &str)] = &[
    ("a respelled base64 before and after a logout", "a_respelled_base64_is_refused_before_and_after_a_logout"),
    ("the other spelling of an ECDSA signature", "a_logout_of_either_spelling_of_an_ecdsa_signature_kills_both"),
    ("the header in all spellings of one credential", "every_form_of_the_header_is_the_same_token_or_none"),
    ("a token of the same jti by another issuer", "a_token_of_the_same_jti_by_another_issuer_stays_alive"),
    ("a refreshed sibling after a logout of all devices", "every_token_of_the_user_dies_registered_or_not"),
    (
        "a token that nobody has seen, after a logout of all devices",
        "a_logout_of_all_devices_covers_tokens_that_curfew_has_never_seen",
    ),
    ("a token of the cutoff's second", "in_the_cutoffs_second_only_what_was_registered_afterwards_lives"),
    ("a token of an issuer whose clock runs ahead", "an_issuer_whose_clock_runs_ahead_keeps_no_token_alive"),
    ("several cutoffs for one user", "the_latest_of_several_cutoffs_wins_even_if_the_clock_goes_back"),
    ("logouts of what is forged or junk", "forgeries_and_junk_leave_nothing_behind"),
    ("a logout while a question is on its way", "a_logout_overtakes_a_question_on_its_way"),
    ("two logouts of one token at the same moment", "of_two_concurrent_logouts_one_succeeds"),
    (
        "a control plane that dies between logout and request",
        "a_control_plane_that_dies_costs_the_leases_and_no_logout",
    ),
    (
        "an Envoy that stands still during a logout",
        "an_envoy_that_stands_still_makes_a_logout_wait_and_refuses_its_token_when_it_goes_on",
    ),
    ("a listener that is replaced again and again", "a_listener_that_is_replaced_again_and_again_misses_no_logout"),
    ("a database that was restored", "another_place_is_not_read_until_it_is_taken_over"),
    (
        "leases that a restored database knows nothing of",
        "leases_of_a_control_plane_whose_row_a_copy_lacks_are_waited_for",
    ),
    ("bodies of 10 MB while a question is on its way", "large_bodies_wait_for_the_verdict_and_arrive_whole"),
    ("trailers that pass for headers", "trailers_that_pass_for_headers_are_unwelcome"),
    ("a prefix in a header that gunicorn cuts off the path", "a_prefix_that_gunicorn_cuts_off_the_path_opens_nothing"),
    ("HEAD, OPTIONS, CONNECT, upgrades and other odd shapes", "odd_methods_and_shapes_get_an_answer"),
    ("clients that leave while a question is on its way", "clients_that_leave_take_nothing_from_others"),
    ("a crowd that waits for one token", "a_crowd_that_waits_for_one_token_does_not_kill_the_vm"),
    ("requests that make a VM trap", "a_trap_refuses_its_request_and_the_next_one_meets_a_new_vm"),
    ("a flood of new valid tokens", "answers_about_tokens_in_use_stay_through_a_flood_and_are_never_wrong"),
    ("a flood that has filled the caches", "a_cache_that_a_flood_has_filled_learns_which_tokens_are_in_use"),
    ("failed logouts from one source", "a_source_that_fails_too_often_is_told_so_and_when_to_come_again"),
    ("a real logout from a source that has failed", "a_real_logout_passes_however_many_have_failed_at_its_source"),
    ("somebody who plays with another's token", "failed_attempts_with_a_token_do_not_lock_its_owner_out"),
    ("clients that dawdle or never finish", "no_client_holds_a_connection_for_ever_and_others_are_served_meanwhile"),
    ("bodies without end", "every_body_is_bounded"),
    ("callers without the internal secret", "the_internal_listener_gives_nothing_away_without_its_secret"),
];
