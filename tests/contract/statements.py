"""Which test proves which statement of the contract S01 to S73, and which statements are not kept?"""

from collections.abc import Mapping

PROVED: Mapping[int, tuple[str, ...]] = {
    1: (
        "supervisor/test_replica.py::test_start_is_idempotent",
        "contract/test_lifecycle.py::test_s01_a_start_means_something_only_where_nothing_runs",
    ),
    2: (
        "supervisor/test_replica.py::test_an_engine_that_cannot_be_started_is_fatal_at_once",
        "contract/test_lifecycle.py::test_s02_an_engine_that_cannot_be_started_is_given_up_at_once",
    ),
    3: (
        "supervisor/test_replica.py::test_a_system_short_of_resources_is_tried_again",
        "contract/test_lifecycle.py::test_s03_without_a_descriptor_a_start_is_tried_again",
    ),
    4: (
        "supervisor/test_state.py::test_only_a_probe_makes_a_replica_ready",
        "contract/test_lifecycle.py::test_s04_only_a_ready_replica_is_given_work",
    ),
    5: ("contract/test_lifecycle.py::test_s05_to_load_is_no_failure",),
    6: (
        "contract/test_lifecycle.py::test_s06_a_load_that_moves_may_take_any_time",
        "contract/test_lifecycle.py::test_s06_a_load_that_stalls_is_ended",
    ),
    7: (
        "supervisor/test_state.py::test_a_process_that_ends_by_itself_is_examined_before_anything_is_decided",
        "supervisor/test_restarts.py::test_delays_double_up_to_the_longest",
        "supervisor/test_restarts.py::test_jitter_moves_a_delay_by_a_fifth_at_most",
    ),
    8: ("contract/test_lifecycle.py::test_s08_only_a_stable_time_makes_the_delays_start_over",),
    9: (
        "supervisor/test_restarts.py::test_the_sixth_exit_within_the_window_is_too_many",
        "supervisor/test_replica.py::test_a_replica_given_up_shows_its_last_words",
    ),
    10: ("supervisor/test_restarts.py::test_exits_outside_the_window_are_forgotten",),
    11: (
        "supervisor/test_state.py::test_fatal_is_left_only_by_an_operator",
        "contract/test_lifecycle.py::test_s11_a_changed_spec_leaves_fatal",
    ),
    12: ("supervisor/test_replica.py::test_a_stop_is_not_a_crash_and_is_not_restarted",),
    13: ("supervisor/test_replica.py::test_a_stop_in_backoff_cancels_the_retry",),
    14: ("contract/test_lifecycle.py::test_s14_a_stop_works_while_a_replica_starts_and_loads",),
    15: ("supervisor/test_replica.py::test_a_start_while_stopping_waits_for_the_old_process",),
    16: ("contract/test_lifecycle.py::test_s16_a_hung_replica_is_killed_to_be_started_again",),
    17: ("contract/test_lifecycle.py::test_s17_what_an_earlier_incarnation_still_says_changes_nothing",),
    18: ("supervisor/test_state.py::test_an_event_that_a_position_does_not_know_raises_and_names_both",),
    19: ("contract/test_lifecycle.py::test_s19_s28_no_sequence_of_commands_makes_twins_or_zombies",),
    20: (
        "contract/test_lifecycle.py::test_s20_a_slow_stop_holds_no_other_up",
        "daemon/test_faults.py::test_one_model_is_stopped_while_another_serves",
    ),
    21: ("contract/test_signals.py::test_s21_to_signal_what_has_just_ended_is_fine",),
    22: ("contract/test_signals.py::test_s22_what_a_wrapper_has_forked_ends_with_it",),
    23: (
        "contract/test_signals.py::test_s23_what_ignores_term_is_killed_in_time_and_what_tidies_up_may_finish",
    ),
    24: ("contract/test_signals.py::test_s24_a_stopped_child_stops",),
    25: ("contract/test_signals.py::test_s25_what_has_left_the_group_is_ended_too",),
    26: (
        "contract/test_signals.py::test_s26_the_first_ctrl_c_is_for_the_daemon_alone_and_the_second_one_kills",
    ),
    27: ("daemon/test_reload.py::test_settings_of_the_door_and_the_queue_change_without_a_restart",),
    28: ("contract/test_lifecycle.py::test_s19_s28_no_sequence_of_commands_makes_twins_or_zombies",),
    29: (
        "contract/test_signals.py::test_s29_replicas_are_stopped_at_once_and_not_one_after_the_other",
        "daemon/test_faults.py::test_running_requests_are_finished_before_the_daemon_ends",
    ),
    30: ("contract/test_signals.py::test_s30_a_stop_needs_no_descriptor",),
    31: (
        "test_house.py::test_children_start_without_a_shell_and_without_code_after_fork",
        "contract/test_signals.py::test_s31_no_child_is_tied_to_the_life_of_a_thread",
    ),
    32: ("contract/test_adoption.py::test_s32_s33_s34_replicas_outlive_the_daemon_and_serve_the_next_one",),
    33: ("contract/test_adoption.py::test_s32_s33_s34_replicas_outlive_the_daemon_and_serve_the_next_one",),
    34: ("contract/test_adoption.py::test_s32_s33_s34_replicas_outlive_the_daemon_and_serve_the_next_one",),
    35: ("contract/test_adoption.py::test_s35_s36_a_recycled_pid_and_another_boot_are_not_believed",),
    36: ("contract/test_adoption.py::test_s35_s36_a_recycled_pid_and_another_boot_are_not_believed",),
    37: ("contract/test_adoption.py::test_s37_a_runtime_folder_that_was_wiped_makes_no_twins",),
    38: (
        "contract/test_adoption.py::test_s38_a_record_that_makes_no_sense_is_put_aside_and_the_others_hold",
    ),
    39: (
        "contract/test_adoption.py::test_s39_s40_a_plan_that_changed_meanwhile_replaces_only_what_it_changes",
        "daemon/test_faults.py::test_a_replica_whose_spec_has_changed_is_not_adopted",
    ),
    40: (
        "contract/test_adoption.py::test_s39_s40_a_plan_that_changed_meanwhile_replaces_only_what_it_changes",
    ),
    41: ("contract/test_adoption.py::test_s41_a_lock_that_a_stranger_holds_is_respected_until_it_is_free",),
    42: (
        "contract/test_adoption.py::test_s42_a_daemon_killed_at_any_step_of_a_launch_leaves_one_process_in_the_end",
    ),
    43: ("contract/test_adoption.py::test_s43_a_zombie_has_no_start",),
    44: (
        "contract/test_adoption.py::test_s44_of_two_daemons_that_start_together_one_lives",
        "daemon/test_commands.py::test_a_second_daemon_is_told_who_runs",
    ),
    45: ("contract/test_adoption.py::test_s45_what_a_killed_replica_left_does_not_hinder_the_next_one",),
    46: ("contract/test_health.py::test_s46_a_stranger_on_our_address_is_sent_nothing",),
    47: (
        "contract/test_health.py::test_s47_by_default_a_hung_replica_loses_its_work_in_15_s_and_its_life_in_45_s",
        "daemon/test_faults.py::test_a_hung_replica_is_replaced",
    ),
    48: ("contract/test_health.py::test_s48_a_replica_that_answers_health_and_decodes_nothing_is_replaced",),
    49: (
        "contract/test_health.py::test_s49_a_replica_that_reads_a_long_prompt_is_left_alone",
        "supervisor/test_stall.py::test_a_long_batch_that_burns_cpu_gets_ten_times_as_long",
    ),
    50: ("contract/test_health.py::test_s50_a_replica_that_hangs_delays_no_look_at_another",),
    51: ("contract/test_health.py::test_s51_looking_sends_no_user_data",),
    52: ("contract/test_health.py::test_s52_without_a_ready_replica_the_daemon_answers_for_itself",),
    53: (
        "contract/test_logs.py::test_s53_a_daemon_that_can_write_nothing_serves_and_recovers",
        "supervisor/test_rotation.py::test_a_disk_that_stays_full_is_told_once_a_minute",
        "supervisor/test_rotation.py::test_on_a_full_disk_the_oldest_backups_give_way",
    ),
    54: (
        "contract/test_logs.py::test_s54_a_log_that_is_written_all_the_time_stays_bounded",
        "supervisor/test_rotation.py::test_r54_rotation_restarts_the_file_under_a_writer_that_appends",
    ),
    55: ("contract/test_logs.py::test_s55_a_line_of_100_mb_is_read_in_bounds",),
    56: ("contract/test_logs.py::test_s56_a_log_that_was_deleted_comes_back",),
    57: (
        "contract/test_logs.py::test_s57_following_goes_on_over_rotation_and_deletion_and_ends_with_130",
        "contract/test_logs.py::test_s57_the_log_of_one_replica_spans_two_daemons",
    ),
    58: ("contract/test_logs.py::test_s58_replicas_serve_and_log_while_the_daemon_hangs",),
    59: ("contract/test_logs.py::test_s59_the_daemon_reads_no_log",),
    60: (
        "contract/test_clock.py::test_s60_a_step_of_the_wall_clock_moves_no_timer",
        "test_house.py::test_time_of_day_comes_from_the_clock",
    ),
    61: ("contract/test_clock.py::test_s61_a_machine_that_slept_kills_nothing",),
    62: ("contract/test_clock.py::test_s62_an_idle_daemon_takes_no_time_and_keeps_no_descriptors",),
    63: ("contract/test_clock.py::test_s63_a_daemon_out_of_descriptors_is_back_when_there_are_some",),
    64: ("contract/test_clock.py::test_s64_a_replica_goes_before_the_daemon_and_leaves_no_core",),
    65: (
        "contract/test_clock.py::test_s65_a_kill_by_the_kernel_counts_double_and_another_does_not",
        "supervisor/test_causes.py::test_running_out_of_host_memory_counts_double",
    ),
    66: (
        "contract/test_clock.py::test_s66_a_device_that_is_too_small_gets_fewer_slots_and_says_so",
        "supervisor/test_replica.py::test_a_device_that_is_too_small_gets_smaller_specs_and_then_none",
    ),
    67: ("contract/test_clock.py::test_s67_a_loop_that_stands_still_is_told_with_its_stack",),
    68: (
        "contract/test_config.py::test_s68_a_bad_file_is_told_with_its_line_and_changes_nothing",
        "daemon/test_reload.py::test_a_bad_file_changes_nothing_and_is_told",
    ),
    69: (
        "contract/test_config.py::test_s69_a_plan_is_compared_replica_by_replica",
        "daemon/test_reload.py::test_a_reload_replaces_what_changed_and_touches_nothing_else",
    ),
    70: (
        "contract/test_config.py::test_s70_settings_that_need_no_restart_are_told_from_those_that_do",
        "contract/test_config.py::test_s70_what_a_process_is_started_from_needs_a_new_process",
    ),
    71: (
        "contract/test_control.py::test_s71_another_user_is_refused_even_where_modes_let_him_in",
        "daemon/test_commands.py::test_r14_the_control_socket_is_for_the_owner_only",
    ),
    72: (
        "contract/test_control.py::test_s72_without_a_daemon_a_command_takes_little_time",
        "daemon/test_commands.py::test_a_hung_daemon_is_called_silent",
    ),
    73: (
        "contract/test_control.py::test_s73_the_table_tells_what_json_tells",
        "daemon/test_commands.py::test_status_tells_people_and_programs_the_same",
    ),
}
"""Number -> the tests that prove it, as paths below `tests/`."""

PENDING: frozenset[int] = frozenset()
"""Statements that are not proved yet."""

DIFFERENT: Mapping[int, str] = {
    11: "A replica that was given up is tried again by a new daemon: starting one is an operator's act or "
    "the service manager's, and the budget holds again.",
    25: "Without a subreaper: what has left its group is found by the lock it still holds and by its tag.",
    23: "The test sets no upper bound: how late a KILL comes is a matter of how busy the machine is.",
    33: "The pids and one load in the log show that nothing was loaded again; the test sets no upper bound.",
    34: "No upper bound: only an exit that is seen is called vanished, silence has another cause.",
    39: "A replica of another spec is not adopted to be replaced later: nobody is connected to it, so it is "
    "ended and started anew at once.",
    41: "It is tried again like any failed start: what holds the lock may just be ending.",
    42: "At seven steps of a launch; the two of a record's write and rename are one: a record is there in "
    "full or not at all.",
    44: "The loser ends with 5 (another daemon runs); 3 says that none does.",
    48: "By the counters that stand still while requests run, and never by a decode of our own: that would "
    "evict a prompt cache and wake a GPU.",
    62: "Ten minutes and 10,000 requests are measured by the soak; the test looks at three seconds.",
    65: "A SIGKILL from outside is called the kernel's only if its log names the process, or its control "
    "group counts a kill: `kill -9` by hand is a crash like any other.",
    72: "In CPU time of the command, as a busy machine says nothing about it.",
}
"""Number -> in what the promise differs from the statement, and why."""
