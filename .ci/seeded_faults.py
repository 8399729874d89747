"""Show that the default tier catches faults: seed one at a time and see a test fail.

    python .ci/seeded_faults.py [WORD]

Each fault is a change in one place of the product that a programmer might make by mistake. It is
made in a copy of the repository, where the tests named beside it must then fail. Before, all of
them must pass there unchanged: a test that fails anyway catches nothing. With a word, only faults
whose names contain it are seeded.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-n0", "-q", "-x", "-p", "no:cacheprovider")
PASSED, FAILED = 0, 1
"""Exit codes of pytest; any other says that something else than a test went wrong."""
LIMIT_S = 900
"""A guard against hangs, not a measure."""


@dataclass(frozen=True)
class Fault:
    """A change in one place, and what must fail with it.

    Attributes:
        name: in words.
        file: of the product.
        before: text that occurs once in the file.
        after: what takes its place.
        tests: node ids of the default tier.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


FAULTS = (
    # Data sets of Hugging Face
    Fault(
        "a domain holds the rows of every other one",
        "dann_search/data/hub.py",
        "if value == wanted]",
        "if value]",
        ("tests/data/test_hub.py::test_rows_are_chosen_by_what_a_column_says",),
    ),
    Fault(
        "a domain is in place before it is whole",
        "dann_search/data/write_domain.py",
        "new = Path(name) / folder.name",
        "new = folder",
        ("tests/data/test_write_domain.py::test_an_interrupt_leaves_nothing_and_a_kill_no_domain",),
    ),
    # Features of frozen stages
    Fault(
        "every view has the features of the first",
        "dann_search/training/frozen_stages.py",
        '"view": seen.view.record if seen.view else None,',
        '"view": None,',
        (
            "tests/training/test_frozen_stages.py"
            "::test_kept_features_train_the_same_network_to_the_last_digit",
        ),
    ),
    # The precision auto
    Fault(
        "trials forget which precision their search began with",
        "dann_search/study/study.py",
        "        space = with_recorded_precisions(space, folder)\n",
        "        _ = with_recorded_precisions(space, folder)\n",
        (
            "tests/search/test_precisions.py"
            "::test_trials_keep_their_precision_when_they_are_resumed_on_another_machine",
        ),
    ),
    # Extension files
    Fault(
        "a model's code executed without consent",
        "dann_search/inference/model.py",
        "if not trust_extensions and not hashes.items() <= in_use.items():",
        "if not trust_extensions and not hashes:",
        (
            "tests/extension/test_extension_files.py"
            "::test_a_model_folder_is_loaded_with_consent_alone",
        ),
    ),
    Fault(
        "entries of another experiment's files stay",
        "dann_search/config/extension_files.py",
        "            registry.forget_files()\n",
        "",
        (
            "tests/extension/test_extension_files.py"
            "::test_another_experiment_has_its_own_entries_alone",
        ),
    ),
    # Search
    Fault(
        "a rung at the last epoch",
        "dann_search/study/pruning.py",
        "while epoch < epochs:",
        "while epoch <= epochs:",
        ("tests/study/test_study.py::test_rungs_follow_from_the_epochs",),
    ),
    Fault(
        "a trial judged by its last epoch",
        "dann_search/study/pruning.py",
        "scores[max(scores)] = max(scores.values())",
        "scores[max(scores)] = scores[max(scores)]",
        (
            "tests/study/test_study.py"
            "::test_a_trial_is_stopped_by_its_best_epoch_so_far_not_by_its_last",
        ),
    ),
    Fault(
        "one death more before a trial is given up",
        "dann_search/search/leases.py",
        "if lease.deaths >= self.max_worker_deaths:",
        "if lease.deaths > self.max_worker_deaths:",
        (
            "tests/search/test_dispatcher.py"
            "::test_a_trial_is_given_up_after_the_third_death_of_its_worker_and_says_so",
        ),
    ),
    Fault(
        "a neighbour's death counted against a trial",
        "dann_search/search/leases.py",
        "elif died is not None:",
        "else:",
        (
            "tests/search/test_dispatcher.py::"
            "test_a_lost_neighbour_is_queued_first_again_without_blame",
        ),
    ),
    Fault(
        "a trial that lacked memory beside others given up at once",
        "dann_search/search/leases.py",
        "if lease.alone:",
        "if lease.slot is None:",
        (
            "tests/search/test_room.py::"
            "test_what_was_killed_for_memory_is_tried_again_alone_and_only_then_at_fault",
        ),
    ),
    Fault(
        "trials handed to a node without room for them",
        "dann_search/search/room.py",
        "sum(there.values()) + lease.order.memory <=",
        "lease.order.memory <=",
        ("tests/search/test_room.py::test_a_trial_waits_until_it_fits_beside_those_that_train",),
    ),
    Fault(
        "slots planned without regard to memory",
        "dann_search/search/resources.py",
        "if held < int(fits):",
        "if held < 0:",
        (
            "tests/search/test_trial_memory.py::"
            "test_where_memory_binds_there_are_fewer_slots_with_more_threads",
        ),
    ),
    Fault(
        "a late report of a lost slot is heard",
        "dann_search/search/leases.py",
        "if (lease := self.held(slot, number)) is None:\n            return False",
        "if (lease := self.by_number.get(number)) is None:\n            return False",
        (
            "tests/search/test_dispatcher.py"
            "::test_what_a_slot_reports_late_of_a_trial_it_lost_is_not_passed_on",
        ),
    ),
    Fault(
        "a lost slot told to continue",
        "dann_search/search/leases.py",
        "return not lease.cancelled and lease.slot == slot",
        "return not lease.cancelled",
        ("tests/search/test_dispatcher.py::test_a_slot_that_lost_its_trial_is_told_to_stop",),
    ),
    Fault(
        "a trial that is over is queued again",
        "dann_search/search/leases.py",
        "if number in self.by_number or number in self.withdrawn:",
        "if number in self.by_number:",
        (
            "tests/search/test_dispatcher.py"
            "::test_a_light_trial_that_was_begun_for_nothing_changes_nothing",
        ),
    ),
    Fault(
        "an epoch saved before it is known whether it counts",
        "dann_search/search/slot_worker.py",
        "settle=self._await_verdict,",
        "settle=lambda: None,",
        (
            "tests/search/test_late_verdicts.py"
            "::test_a_search_does_not_depend_on_how_late_its_verdicts_are",
        ),
    ),
    Fault(
        "a trial failed by an error that came after its stop",
        "dann_search/search/leases.py",
        "if len(lease.history) > seen else lease.update",
        "if lease.cancelled else lease.update",
        (
            "tests/search/test_dispatcher.py"
            "::test_an_error_reaches_the_trial_after_the_epochs_before_it",
        ),
    ),
    Fault(
        "a paused trial counted as finished",
        "dann_search/search/slot_worker.py",
        "if self.is_paused and error is None:",
        "if self.is_paused and error is not None:",
        ("tests/search/test_slot_worker.py::test_how_a_trial_ended_is_told[paused]",),
    ),
    Fault(
        "a worker's own error kept from the dispatcher",
        "dann_search/search/slot_worker.py",
        "            error = described(exc)\n            self._write_error(folder)",
        "            self._write_error(folder)",
        ("tests/search/test_slot_worker.py::test_how_a_trial_ended_is_told[failed]",),
    ),
    Fault(
        "a trial's value is its last epoch's",
        "dann_search/study/study.py",
        "max(self.frozen(number).intermediate_values.values())",
        "list(self.frozen(number).intermediate_values.values())[-1]",
        ("tests/study/test_study.py::test_the_value_of_a_completed_trial_is_its_best_epochs",),
    ),
    Fault(
        "a finished trial is told again",
        "dann_search/study/study.py",
        "        if not self.frozen(number).state.is_finished():\n            # The study's own",
        "        if number >= 0:\n            # The study's own",
        ("tests/study/test_study.py::test_a_finished_trial_is_never_told_again",),
    ),
    Fault(
        "epochs told twice after a crash",
        "dann_search/study/study.py",
        "return len(known)",
        "return 0",
        (
            "tests/study/test_study.py"
            "::test_a_crash_between_checkpoint_and_report_leaves_no_gap_and_no_step_twice",
        ),
    ),
    Fault(
        "unfinished trials forgotten at a resume",
        "dann_search/study/proposals.py",
        "            and STOPPED not in trial.user_attrs",
        "            and STOPPED in trial.user_attrs",
        (
            "tests/search/test_in_process.py"
            "::test_an_interrupted_search_goes_on_to_the_same_numbers[1]",
        ),
    ),
    Fault(
        "two drivers share a lock",
        "dann_search/storage/driver_lock.py",
        "while not try_lock(file)",
        "while not try_lock(file, fcntl.LOCK_SH)",
        (
            "tests/storage/test_driver_lock.py::test_a_second_driver_is_refused_and_told_which_process_runs",
        ),
    ),
    Fault(
        "a lock not released",
        "dann_search/storage/driver_lock.py",
        "with contextlib.suppress(RunError, OSError), self._file:",
        "with contextlib.suppress(RunError, OSError):",
        (
            "tests/storage/test_driver_lock.py::test_a_lock_is_given_back_though_somebody_still_holds_the_object",
        ),
    ),
    Fault(
        "a budget that counts no parallel trials",
        "dann_search/study/budget.py",
        "hours * len(self.running) * self.rates[name]",
        "hours * bool(self.running) * self.rates[name]",
        (
            "tests/study/test_budget.py"
            "::test_hours_of_the_clock_and_of_what_two_running_trials_reserve",
        ),
    ),
    Fault(
        "slots rounded up",
        "dann_search/search/resources.py",
        "return Plan(int(min(fits, most)), workers,",
        "return Plan(math.ceil(min(fits, most)), workers,",
        ("tests/search/test_resources.py::test_slots_fill_the_machine",),
    ),
    Fault(
        "the winner's seed confirms it",
        "dann_search/config/experiment.py",
        "return range(seed + 1, seed + 1 + self.seeds)",
        "return range(seed, seed + self.seeds)",
        (
            "tests/study/test_finalists.py"
            "::test_finalists_are_trained_with_new_seeds_once_all_others_have_ended",
        ),
    ),
    Fault(
        "every signal exits as Ctrl-C does",
        "dann_search/search/interrupts.py",
        "return INTERRUPTED if self.number is None else 128 + self.number",
        "return INTERRUPTED",
        (
            "tests/search/test_interrupts.py::test_a_command_says_that_it_was_interrupted_and_by_what[15]",
        ),
    ),
    Fault(
        "a file written in place",
        "dann_search/storage/atomic_file.py",
        'temporary = path.with_name(f".{path.name}.{os.getpid()}")',
        "temporary = path",
        ("tests/storage/test_atomic_file.py::test_a_crash_while_writing_leaves_the_old_content",),
    ),
    Fault(
        "a database password shown",
        "dann_search/config/database_url.py",
        "render_as_string(hide_password=True)",
        "render_as_string(hide_password=False)",
        ("tests/config/test_database_url.py::test_what_is_shown_has_no_password",),
    ),
    # Training
    Fault(
        "an epoch told before its checkpoint is saved",
        "dann_search/training/saving.py",
        "        keep(self.finish)\n        with undisturbed():\n            yield self.history",
        "        with undisturbed():\n            yield self.history\n        keep(self.finish)",
        (
            "tests/training/test_loop.py::test_an_epoch_is_told_when_it_is_on_disk_and_the_next_one_begins_before",
        ),
    ),
    Fault(
        "an epoch skipped at a resume",
        "dann_search/training/loop.py",
        "range(len(training.history) + 1, config.epochs + 1)",
        "range(len(training.history) + 1 + bool(training.history), config.epochs + 1)",
        ("tests/training/test_loop.py::test_a_resumed_training_first_tells_what_it_had_saved",),
    ),
    Fault(
        "the seed of an epoch not set",
        "dann_search/training/loop.py",
        "        reset_torch(seed)\n        backbone",
        "        backbone",
        (
            "tests/training/test_loop.py"
            "::test_a_training_cut_off_or_paused_ends_as_if_it_had_not_been[cdan]",
        ),
    ),
    Fault(
        "momentum lost at a resume",
        "dann_search/training/loop.py",
        "            self.optimizer.load_state(checkpoint.optimizer)\n",
        "",
        (
            "tests/search/test_in_process.py"
            "::test_workers_that_die_at_any_moment_change_no_number[0]",
        ),
    ),
    Fault(
        "the epoch kept ignores the objective",
        "dann_search/training/loop.py",
        "if best_epoch(last.history, self.objective) is last.history[-1]:",
        "if best_epoch(last.history) is last.history[-1]:",
        ("tests/training/test_loop.py::test_the_epoch_kept_is_the_best_by_the_objective",),
    ),
    Fault(
        "the latest of equal epochs is best",
        "dann_search/training/result.py",
        '(score_of(epoch, objective), -epoch["epoch"])',
        '(score_of(epoch, objective), epoch["epoch"])',
        (
            "tests/training/test_metrics.py"
            "::test_the_best_epoch_is_the_earliest_of_the_highest_score",
        ),
    ),
    Fault(
        "labels and predictions swapped",
        "dann_search/training/metrics.py",
        "labels, predictions, labels=range(classes)",
        "predictions, labels, labels=range(classes)",
        ("tests/training/test_metrics.py",),
    ),
    Fault(
        "a weighted instead of a macro average",
        "dann_search/training/metrics.py",
        'average="macro"',
        'average="weighted"',
        ("tests/training/test_metrics.py",),
    ),
    Fault(
        "the previous checkpoint is not fallen back on",
        "dann_search/training/checkpoint.py",
        "for path in (folder / LAST, folder / PREVIOUS):",
        "for path in (folder / LAST,):",
        (
            "tests/training/test_checkpoint.py"
            "::test_training_goes_on_from_the_last_whole_checkpoint_to_the_same_end",
        ),
    ),
    Fault(
        "another recipe's checkpoint is continued from",
        "dann_search/training/checkpoint.py",
        'if checkpoint and (recipe is None or checkpoint.recipe in ("", recipe)):',
        "if checkpoint and (recipe is None or checkpoint.recipe):",
        (
            "tests/training/test_checkpoint.py"
            "::test_a_checkpoint_of_another_recipe_is_not_gone_on_from",
        ),
    ),
    Fault(
        "a damaged checkpoint is continued from",
        "dann_search/training/checkpoint.py",
        'if DIGEST in header and header[DIGEST] != _digest(tensors, header["record"]):',
        "if False:",
        (
            "tests/training/test_checkpoint.py"
            "::test_training_goes_on_from_the_checkpoint_before_one_with_a_wrong_bit_and_says_so",
        ),
    ),
    Fault(
        "a frozen worker counted as a death of its trial's",
        "dann_search/search/dispatcher.py",
        "await self._requeue(slot, lost=why)",
        "await self._requeue(slot, died=why)",
        (
            "tests/search/test_dispatcher.py"
            "::test_a_frozen_worker_is_ended_and_its_trial_goes_on_without_blame",
        ),
    ),
    Fault(
        "a search that ends waits for a silent worker",
        "dann_search/search/dispatcher.py",
        "limit_s = min(stall_timeout_s, SILENT_S) if self.closed else stall_timeout_s",
        "limit_s = stall_timeout_s",
        (
            "tests/search/test_dispatcher.py"
            "::test_a_search_that_ends_waits_for_workers_that_save_and_for_no_silent_one",
        ),
    ),
    Fault(
        "trials that diverge are passed over by samplers",
        "dann_search/study/sampler_view.py",
        "for trial in bad if values else ():",
        "for trial in ():",
        ("tests/study/test_samplers.py::test_samplers_learn_from_trials_that_diverge[tpe-80]",),
    ),
    Fault(
        "a finalist's model deleted once others are better",
        "dann_search/study/retention.py",
        "return {trial.number for trial in models[:keep]} | confirmed",
        "return {trial.number for trial in models[:keep]}",
        (
            "tests/study/test_retention.py::"
            "test_a_finalist_stays_however_many_become_better_and_its_repetitions_leave_no_model",
        ),
    ),
    Fault(
        "lambda without its -1",
        "dann_search/training/schedules.py",
        "shape = 2 / (1 + math.exp(-config.lambda_gamma * q)) - 1",
        "shape = 2 / (1 + math.exp(-config.lambda_gamma * q))",
        ("tests/training/test_schedules.py::test_ganin_lambda_has_the_papers_values",),
    ),
    Fault(
        "the average's factors swapped",
        "dann_search/training/ema.py",
        "share = (1 - self.decay) / (1",
        "share = self.decay / (1",
        (
            "tests/training/test_ema.py"
            "::test_the_average_follows_its_formula_and_leaves_when_its_time_is_over",
        ),
    ),
    Fault(
        "each worker's loss is a mean of its own",
        "dann_search/training/step.py",
        "return total / batch_size",
        "return total / len(labels)",
        ("tests/training/test_step.py::test_shares_of_workers_add_up_to_the_whole_batch",),
    ),
    Fault(
        "a second classifier that helps the features",
        "dann_search/training/methods/mdd.py",
        "reverse_gradient(features, lam)",
        "reverse_gradient(features, -lam)",
        ("tests/training/test_method_figures.py::test_loss_and_gradients_are_tllibs[mdd]",),
    ),
    Fault(
        "one weight for every method",
        "dann_search/training/adaptation.py",
        "METHODS[name].trade_off * lam",
        "lam",
        (
            "tests/training/test_methods.py::test_every_method_learns_an_easy_problem_at_its_own_trade_off[mdd]",
        ),
    ),
    Fault(
        "a method's own module shipped with the model",
        "dann_search/inference/best.py",
        ', "method_module."',
        "",
        ("tests/inference/test_best.py::test_what_only_training_needs_is_not_in_a_model",),
    ),
    Fault(
        "gradients averaged over workers once more",
        "dann_search/training/ranks.py",
        "        self.sum_(flat)\n",
        "        self.sum_(flat).div_(self.size)\n",
        ("tests/training/test_ranks.py::test_two_workers_train_as_one_does",),
    ),
    # Models
    Fault(
        "a gradient that is not reversed",
        "dann_search/models/gradient_reversal.py",
        "return -ctx.lam * gradients[0], None",
        "return ctx.lam * gradients[0], None",
        ("tests/models/test_gradient_reversal.py",),
    ),
    Fault(
        "a frozen stage that trains",
        "dann_search/models/backbone.py",
        "held = self.stage_of(plain_name(name)) < self._held",
        "held = self.stage_of(plain_name(name)) < self._held - 1",
        (
            "tests/models/test_backbones.py"
            "::test_frozen_stages_receive_no_gradient_and_keep_their_statistics[dann_cnn-1]",
        ),
    ),
    # Data
    Fault(
        "val and test swapped",
        "dann_search/data/splits.py",
        "val, test = (max(1, round",
        "test, val = (max(1, round",
        ("tests/data/test_splits.py::test_shares_are_those_asked_for_within_rounding",),
    ),
    Fault(
        "an image in two splits",
        "dann_search/data/splits.py",
        "ordered[start : start + size], start + size",
        "ordered[start : start + size + 1], start + size",
        ("tests/data/test_splits.py::test_splits_are_disjoint_complete_and_hold_every_class",),
    ),
    Fault(
        "labels of the target's training images in the store",
        "dann_search/data/store.py",
        "if domain.labelled and (role, split) != UNLABELLED:",
        "if len(rows):",
        (
            "tests/data/test_store.py::test_a_store_holds_all_images_and_no_label_of_target_training_images",
        ),
    ),
    Fault(
        "training chosen by the test split",
        "dann_search/data/training_data.py",
        'val_images=as_tensor(folder, "target", "val"),',
        'val_images=as_tensor(folder, "target", "test"),',
        ("tests/data/test_store.py::test_training_data_never_opens_the_test_split",),
    ),
    Fault(
        "every epoch shuffled alike",
        "dann_search/data/batches.py",
        "return (seed * 1_000_003 + epoch) * 16 + stream",
        "return seed * 1_000_003 * 16 + stream",
        ("tests/data/test_batches.py::test_seeds_are_distinct_and_fit_a_generator",),
    ),
    Fault(
        "a flip's probability inverted",
        "dann_search/data/augmentations.py",
        "draws.mirror[u[:, 0] < amount, 0]",
        "draws.mirror[u[:, 0] > amount, 0]",
        ("tests/data/test_augment.py::test_a_flip_of_probability_one_mirrors_every_image",),
    ),
    Fault(
        "an image's EXIF orientation ignored",
        "dann_search/data/image_pixels.py",
        "if _is_turned(image):",
        "if not _is_turned(image):",
        ("tests/data/test_folder.py::test_an_image_is_turned_as_its_exif_tag_says",),
    ),
    Fault(
        "a crop at evaluation that is not the centre",
        "dann_search/data/image_pixels.py",
        "first = (side - crop_size) // 2",
        "first = 0",
        ("tests/inference/test_network_input.py::test_every_way_gives_the_network_the_same_bytes",),
    ),
    # Results
    Fault(
        "val evaluated instead of test",
        "dann_search/evaluation/evaluation_set.py",
        'labels = open_labels(store, "target", "test")',
        'labels = open_labels(store, "target", "val")',
        (
            "tests/evaluation/test_evaluate.py::test_metrics_equal_scikit_learns_on_every_test_image",
        ),
    ),
    Fault(
        "a folder's classes taken for the model's in their order",
        "dann_search/evaluation/evaluation_set.py",
        "np.array([numbers[name] for name in names])",
        "np.array([number for number, _ in enumerate(names)])",
        (
            "tests/evaluation/test_evaluate.py"
            "::test_classes_without_images_are_named_and_count_as_zero",
        ),
    ),
    Fault(
        "a confusion matrix transposed",
        "dann_search/evaluation/scoring.py",
        "confusion_matrix(labels, predictions, labels=range(classes))",
        "confusion_matrix(predictions, labels, labels=range(classes))",
        (
            "tests/evaluation/test_evaluate.py::test_metrics_equal_scikit_learns_on_every_test_image",
        ),
    ),
    Fault(
        "intervals of 90 %",
        "dann_search/results/intervals.py",
        "Z = 1.959964",
        "Z = 1.644854",
        (
            "tests/evaluation/test_evaluate.py"
            "::test_intervals_cover_the_score_that_such_test_sets_have_on_average",
            "tests/evaluation/test_evaluate.py"
            "::test_intervals_equal_an_independent_bootstrap_within_classes_where_images_are_many",
        ),
    ),
    Fault(
        "a bootstrap that is not paired",
        "dann_search/evaluation/paired_bootstrap.py",
        "reflected(mean, np.concatenate(part, axis=1), by).reshape",
        "rng.permuted(reflected(mean, np.concatenate(part, axis=1), by), axis=1).reshape",
        ("tests/evaluation/test_paired_bootstrap.py::test_methods_are_drawn_together",),
    ),
    Fault(
        "a temperature fitted the wrong way round",
        "dann_search/evaluation/calibration.py",
        "logits / np.exp(log_temperature)",
        "logits * np.exp(log_temperature)",
        (
            "tests/evaluation/test_calibration.py"
            "::test_a_temperature_undoes_the_overconfidence_that_was_put_in",
        ),
    ),
    Fault(
        "a model's temperature used the wrong way round",
        "dann_search/inference/export/standalone.py",
        "(logits / self.temperature).softmax(1)",
        "(logits * self.temperature).softmax(1)",
        (
            "tests/evaluation/test_evaluate.py"
            "::test_calibration_is_fitted_on_val_kept_and_used_from_then_on",
        ),
    ),
    Fault(
        "a stopped trial above completed ones",
        "dann_search/results/leaderboard.py",
        'ORDER = ("completed", "pruned", "running", "failed")',
        'ORDER = ("pruned", "completed", "running", "failed")',
        (
            "tests/results/test_leaderboard.py"
            "::test_completed_trials_stand_above_a_stopped_one_with_a_higher_score",
        ),
    ),
    Fault(
        "the worst trial first",
        "dann_search/results/leaderboard.py",
        "not row.is_confirmed, -low, row.number",
        "not row.is_confirmed, low, row.number",
        (
            "tests/results/test_leaderboard.py"
            "::test_completed_trials_stand_above_a_stopped_one_with_a_higher_score",
        ),
    ),
    Fault(
        "the winner compared on a seed that confirmed it",
        "dann_search/evaluation/compare.py",
        "if winner.number in (row.number, row.confirms)}",
        "if winner.number == row.number}",
        (
            "tests/evaluation/test_compare.py::test_seeds_that_confirmed_the_winner_are_not_used_again",
        ),
    ),
    Fault(
        "a source_only baseline that adapts",
        "dann_search/evaluation/baselines.py",
        'fixed: dict[str, Any] = {"method": method}',
        'fixed: dict[str, Any] = {"method": winner}',
        (
            "tests/evaluation/test_baselines.py"
            "::test_a_baseline_has_the_winners_recipe_but_for_what_it_is",
        ),
    ),
    Fault(
        "a verdict that forgets what batch norm alone brings",
        "dann_search/evaluation/comparison.py",
        "bases = [name for name in (base, ADABN) if name != winner]",
        "bases = [name for name in (base,) if name != winner]",
        (
            "tests/evaluation/test_comparison.py"
            "::test_adaptation_helps_only_beyond_what_the_targets_statistics_bring",
        ),
    ),
    Fault(
        "all labels of the target's training images for a few",
        "dann_search/data/few_labels.py",
        "return np.where(np.isin(rows, kept), target.labels[rows], NO_LABEL)",
        "return target.labels[rows]",
        ("tests/training/test_few_labels.py::test_no_other_label_of_the_target_reaches_training",),
    ),
    Fault(
        "an image of the test split among the few labelled ones",
        "dann_search/data/splits.py",
        "copies = np.array([key in keys for key in domain.keys])",
        "copies = domain.few",
        (
            "tests/data/test_few_labels.py"
            "::test_a_folder_beside_a_labelled_target_adds_its_labels_and_no_others",
        ),
    ),
    Fault(
        "the source validated by the target's statistics",
        "dann_search/training/validation.py",
        "with of_source(network):",
        "if of_source(network):",
        (
            "tests/models/test_domain_batch_norm.py"
            "::test_validation_sees_each_domain_by_its_own_statistics",
        ),
    ),
    Fault(
        "predictions with sorted classes",
        "dann_search/inference/predict.py",
        "label=names[number]",
        "label=sorted(names)[number]",
        (
            "tests/inference/test_predict.py"
            "::test_predictions_are_the_models_own_and_in_the_order_of_the_files",
        ),
    ),
)


def main(word: str = "") -> int:
    """Seed the faults whose names contain ``word``; the number that no test caught, 1 at most."""
    chosen = [fault for fault in FAULTS if word in fault.name]
    if not chosen:
        print(f"no fault is called so: {word}")
        return 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seeded-faults-") as place:
        copy = Path(place)
        copy_repository(copy)
        require_copy_is_imported(copy)
        require_tests_pass(copy, sorted({test for fault in chosen for test in fault.tests}))
        caught = sum(is_caught(copy, fault) for fault in chosen)
    print(f"{caught} of {len(chosen)} faults caught, {time.monotonic() - begun:.0f} s")
    return int(caught < len(chosen))


def copy_repository(copy: Path) -> None:
    """Copy what git tracks, as it is in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)


def require_copy_is_imported(copy: Path) -> None:
    """Stop if tests in the copy would test another installation."""
    asked = [sys.executable, "-c", "import dann_search; print(dann_search.__file__)"]
    answer = subprocess.run(asked, cwd=copy, env=environment(copy), capture_output=True, check=True)
    imported = Path(answer.stdout.decode().strip())
    print(f"imported: {imported}")
    if not imported.is_relative_to(copy):
        sys.exit("that is not the copy: nothing would be shown")


def require_tests_pass(copy: Path, tests: Sequence[str]) -> None:
    """Stop if a test fails without any fault."""
    code, output = run_tests(copy, tests)
    if code != PASSED:
        sys.exit(f"{output}\nwithout a fault pytest ended with {code}")


def is_caught(copy: Path, fault: Fault) -> bool:
    """Seed the fault, run its tests, take it out again; say how it went."""
    path = copy / fault.file
    original = path.read_text(encoding="utf-8")
    if (count := original.count(fault.before)) != 1:
        print(f"NOT SEEDED  {fault.name}  (its text is {count} times in {fault.file})")
        return False
    write_source(path, original.replace(fault.before, fault.after))
    try:
        code, output = run_tests(copy, fault.tests)
    finally:
        write_source(path, original)
    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(\w+)", output, re.MULTILINE)
    if code == FAILED and failed:
        print(f"caught  {fault.name}  ({failed[1]})", flush=True)
        return True
    why = "" if code == PASSED else f"  (pytest ended with {code})\n{output}"
    print(f"NOT CAUGHT  {fault.name}{why}", flush=True)
    return False


def write_source(path: Path, text: str) -> None:
    """Write a module; what was compiled of it goes, for its age is told by whole seconds."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """Pytest's exit code and output; no code where it came to no end."""
    try:
        done = subprocess.run(
            [*PYTEST, *tests],
            cwd=copy,
            env=environment(copy),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired as exc:
        return None, (exc.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout.decode(errors="replace")


def environment(copy: Path) -> dict[str, str]:
    """Return this process's environment, with the copy before every installation."""
    return {**os.environ, "PYTHONPATH": str(copy)}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
