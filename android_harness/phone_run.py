"""Measures one phone, from pushing files to cleaning up."""

from __future__ import annotations

import functools
import hashlib
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from android_harness.adb import CALL_TIMEOUT, Answer, Device
from android_harness.cases import Case
from android_harness.errors import (
    AdbError,
    AdbTimeoutError,
    AndroidError,
    DeviceLostError,
    DeviceRefusedError,
    InterruptedRunError,
    ToolError,
)
from android_harness.instrumentation import App, parse_instrumentation
from android_harness.payload import Payload
from android_harness.phone import REMOTE_PARENT, read_boot_id, read_conditions
from android_harness.protocol import TOOL, Protocol
from android_harness.state import CaseRecord, StateFile
from android_harness.tool import ToolResult, parse_output
from benchmarks.report import Conditions, Memory, Parity, Round

# Folders on the phone with this prefix are ours: a run removes those that an earlier run left.
FOLDER_PREFIX = "mm-face-stylizer-"
# A file in such a folder, which says that the app was installed and has to be removed as well.
_INSTALLED_MARKER = "app-installed"
# At THERMAL_STATUS_LIGHT and above Android throttles.
_THROTTLING = 1
# Disconnects of the phone in one measurement after which the run gives up.
_MAX_DISCONNECTS = 3
_CLEANUP_TIMEOUT = 15.0
_MEBIBYTE = 2**20
_EXTRA_RUNS = 20


@dataclass(frozen=True)
class Job:
    """One case of a model, or of a bundle in the app.

    Attributes:
      subject: Name of the subject.
      stage: The stage that is timed.
      case: How it is run.
      payload: The model; None for the app, which runs a whole bundle.
    """

    subject: str
    stage: str
    case: Case
    payload: Payload | None

    @property
    def key(self) -> str:
        """Name of the job in the state file."""
        return f"{self.subject}/{self.stage}/{self.case.name}"

    def record(self) -> CaseRecord:
        """Returns the record of the job before anything is measured."""
        runtime = "tasks-vision" if self.payload is None else TOOL
        return CaseRecord(self.subject, self.stage, runtime, self.case.settings)


@dataclass(frozen=True)
class PushedFiles:
    """The files that are pushed to a phone.

    Attributes:
      tool: benchmark_model for this phone; None if only the app runs.
      payloads: Models with their inputs.
      app: The app; None if it does not run.
      bundles: `.task` bundles for the app, by subject.
    """

    tool: Path | None
    payloads: tuple[Payload, ...]
    app: App | None
    bundles: Mapping[str, bytes]

    def size(self) -> int:
        """Returns the bytes that they take on a phone, with the files that the tool writes."""
        models = sum(len(p.model) + len(p.input_values) for p in self.payloads)
        outputs = max((sum(a.nbytes for a in p.expected) for p in self.payloads), default=0)
        tool = self.tool.stat().st_size if self.tool else 0
        # The package itself, and twice its size for the installed app.
        app = 3 * self.app.apk.stat().st_size if self.app else 0
        return models + outputs + tool + app + sum(map(len, self.bundles.values())) + _MEBIBYTE


class PhoneRun:
    """Measures one phone."""

    def __init__(
        self,
        device: Device,
        files: PushedFiles,
        protocol: Protocol,
        state: StateFile,
        raw: Path | None,
        log: Callable[[str], None],
    ) -> None:
        """Prepares the run; the phone is not contacted yet.

        Args:
          device: The phone.
          files: The files to push.
          protocol: How to measure.
          state: Where results are stored after each round.
          raw: Folder for the tool's own outputs; None to discard them.
          log: Is called with lines for the user.
        """
        self._device = device
        self._files = files
        self._protocol = protocol
        self._state = state
        self._raw = raw
        self._log = log
        self._folder = f"{REMOTE_PARENT}/{FOLDER_PREFIX}{secrets.token_hex(6)}"
        self._ready = False
        self._boot_id = ""
        self._serial_key = hashlib.sha256(device.serial.encode()).hexdigest()

    def run(self, jobs: tuple[Job, ...]) -> None:
        """Measures all jobs that the state does not have yet, then cleans up.

        Args:
          jobs: What to measure. The first round of every job comes before the second of any.

        Raises:
          DeviceLostError: the phone is gone and does not come back.
          DeviceRefusedError: the phone does not cool down, or no longer allows access.
          AdbError, InterruptedRunError: as for `Device`.
        """
        try:
            for number in range(self._protocol.rounds):
                for job in jobs:
                    if self._is_round_missing(job, number):
                        self._retry_after_disconnect(
                            job, functools.partial(self._round, job, number)
                        )
            for job in jobs:
                for extra in self._protocol.missing_extras(self._record(job)):
                    self._retry_after_disconnect(job, functools.partial(self._extra, job, extra))
        finally:
            self._clean_up()

    # Records in the state.

    def _record(self, job: Job) -> CaseRecord:
        with self._state.read() as state:
            return replace(state.phones[self._serial_key].cases[job.key])

    def _save_record(self, job: Job, record: CaseRecord) -> None:
        with self._state.change() as state:
            state.phones[self._serial_key].cases[job.key] = record

    def _is_round_missing(self, job: Job, number: int) -> bool:
        return number in self._protocol.missing_rounds(self._record(job))

    # One measurement.

    def _retry_after_disconnect(self, job: Job, work: Callable[[], None]) -> None:
        """Does some work, and does it again if the phone disconnects and comes back."""
        for attempt in range(_MAX_DISCONNECTS):
            try:
                if not self._ready:
                    self._prepare()
                work()
                return
            except DeviceLostError as error:
                self._ready = False
                if attempt == _MAX_DISCONNECTS - 1:
                    raise DeviceLostError(
                        f"{error}; this happened {_MAX_DISCONNECTS} times in {job.key}"
                    ) from error
                self._wait_for_return(error)

    def _round(self, job: Job, number: int) -> None:
        before = self._cool_down()
        record = self._record(job)
        try:
            if job.payload is None:
                record, summary = self._app_round(job, record, before)
            else:
                record, summary = self._tool_round(job, job.payload, record, before, number)
        except ToolError as error:
            # A phone that restarts kills its processes first, which looks like a failing tool.
            if read_boot_id(self._device) != self._boot_id:
                raise DeviceLostError(f"{self._device.serial} has restarted") from error
            record, summary = replace(record, rounds=(), error=str(error)), ""
        if self._device.dry_run:
            return
        self._save_record(job, record)
        if record.error is not None:
            summary = f"failed: {record.error}"
        elif record.rounds[-1].throttled:
            summary += ", throttled"
        self._log(f"{job.key}, round {number + 1} of {self._protocol.rounds}: {summary}")

    def _tool_round(
        self, job: Job, payload: Payload, record: CaseRecord, before: Conditions, number: int
    ) -> tuple[CaseRecord, str]:
        flags = [
            f"--num_runs={self._protocol.runs}",
            f"--min_secs={self._protocol.min_seconds:g}",
            f"--warmup_min_secs={self._protocol.warm_up_seconds:g}",
        ]
        result, output = self._run_tool(job, payload, flags, f"round-{number + 1}")
        if result is None:
            return record, ""
        parity = record.parity[0] if record.parity else None
        if output is not None and parity is None:
            parity = payload.compare(output)
        record = replace(record, coverage=result.coverage or record.coverage)
        one = Round(
            aggregate=result.calls, creation_ms=result.init_ms, first_call_ms=result.first_ms
        )
        middle = result.calls.mean if result.calls.p50 is None else result.calls.p50
        return self._with_round(record, one, before, parity), f"{middle:.2f} ms"

    def _with_round(
        self, record: CaseRecord, one: Round, before: Conditions, parity: Parity | None
    ) -> CaseRecord:
        """Returns a record with another round, to which the phone's conditions are added.

        Args:
          record: Record of the case so far.
          one: Times of the round.
          before: Conditions of the phone before the round.
          parity: Comparison of the round's result; None if there was none.

        Returns:
          The new record. If the result was wrong, it has an error and no rounds.
        """
        after = read_conditions(self._device)
        throttled = (after.thermal_status or 0) >= _THROTTLING
        one = replace(one, before=before, after=after, throttled=throttled)
        comparisons = () if parity is None else (parity,)
        record = replace(record, rounds=(*record.rounds, one), parity=comparisons)
        if parity is not None and not parity.passed:
            error = (
                f"wrong result: its mean difference from {parity.against} is {parity.mean:.4g}"
                f" {parity.unit}; at most {parity.limit:g} is allowed"
            )
            return replace(record, rounds=(), error=error)
        return record

    def _extra(self, job: Job, extra: str) -> None:
        assert job.payload is not None
        self._cool_down()
        record = self._record(job)
        flag = "enable_op_profiling" if extra == "profile" else "report_peak_memory_footprint"
        flags = [f"--num_runs={min(_EXTRA_RUNS, self._protocol.runs)}", "--min_secs=0"]
        try:
            result, _ = self._run_tool(job, job.payload, [*flags, f"--{flag}=true"], extra)
        except ToolError as error:
            # The times of the case remain valid without the extra.
            self._log(f"{job.key}: no {extra}: {error}")
            result = None
        if self._device.dry_run:
            return
        if result is not None and extra == "profile":
            record = replace(record, profile=result.profile)
        if result is not None and result.memory is not None:
            steady = round(result.memory.resident * _MEBIBYTE)
            growth = round(result.memory.growth * _MEBIBYTE)
            peak = round(result.memory.peak * _MEBIBYTE)
            # The tool rounds resident memory down to whole megabytes, but not the growth, so that
            # their difference can be negative.
            baseline = max(0, steady - growth)
            record = replace(
                record,
                memory=Memory(baseline, steady, max(peak, steady), result.calls.count),
            )
        self._save_record(job, replace(record, extras_done=(*record.extras_done, extra)))

    def _run_tool(
        self, job: Job, payload: Payload, flags: list[str], label: str
    ) -> tuple[ToolResult | None, bytes | None]:
        """Runs benchmark_model.

        Returns:
          The result, and the bytes of the output tensors if the tool saved them; None and None in
          a dry run.
        """
        index = self._files.payloads.index(payload)
        written = {name: f"{self._folder}/{name}" for name in ("result.pb", "output.bin")}
        self._device.shell(["rm", "-f", *written.values()], changes=True)
        shape = ",".join(map(str, payload.input_shape))
        command = [
            *(["taskset", job.case.mask] if job.case.mask else []),
            f"{self._folder}/{TOOL}",
            f"--graph={self._folder}/{index}.tflite",
            "--input_layer=input",
            f"--input_layer_shape={shape}",
            f"--input_layer_value_files=input:{self._folder}/{index}.bin",
            f"--max_secs={self._protocol.max_seconds:g}",
            f"--result_file_path={written['result.pb']}",
            f"--output_filepath={written['output.bin']}",
            *flags,
            *job.case.flags,
        ]
        answer = self._run_on_phone(command, self._protocol.run_timeout)
        if self._device.dry_run:
            return None, None
        files = self._pull_files(written) if answer.status == 0 else {}
        self._save_raw(job, label, answer, files)
        delegate = job.case.settings.delegate
        result = parse_output(
            answer.text,
            answer.status,
            None if delegate == "none" else delegate,
            files.get("result.pb"),
        )
        return result, files.get("output.bin")

    def _run_on_phone(self, command: list[str], timeout: float) -> Answer:
        try:
            return self._device.shell(command, timeout, changes=True)
        except AdbTimeoutError as error:
            # If the phone hangs and not the tool, this call fails as well.
            kill_processes(self._device, self._folder)
            raise ToolError(f"it did not end within {timeout:.0f} s") from error

    def _pull_files(self, written: Mapping[str, str]) -> dict[str, bytes]:
        """Pulls the files that the tool wrote; older tools lack some of the flags for them."""
        sums = self._sha256(list(written.values()))
        files = {}
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            for name, remote in written.items():
                if remote not in sums:
                    continue
                local = Path(folder) / name
                self._device.pull(remote, local, 2**24)
                files[name] = local.read_bytes()
                if hashlib.sha256(files[name]).hexdigest() != sums[remote]:
                    raise ToolError(f"{name} was damaged on the way from the phone")
        return files

    def _save_raw(self, job: Job, label: str, answer: Answer, files: Mapping[str, bytes]) -> None:
        if self._raw is None:
            return
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in job.key)
        stem = self._raw / self._serial_key[:12] / f"{safe}.{label}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(f"{stem.name}.txt").write_text(answer.text, encoding="utf-8")
        if "result.pb" in files:
            stem.with_name(f"{stem.name}.pb").write_bytes(files["result.pb"])

    def _app_round(
        self, job: Job, record: CaseRecord, before: Conditions
    ) -> tuple[CaseRecord, str]:
        app = self._files.app
        assert app is not None
        index = list(self._files.bundles).index(job.subject)
        command = app.command(
            f"{self._folder}/{index}.task",
            f"{self._folder}/photo.png",
            "gpu" if job.case.settings.delegate == "gpu" else "cpu",
            self._protocol.app_runs,
        )
        answer = self._run_on_phone(list(command), self._protocol.run_timeout)
        if self._device.dry_run:
            return record, ""
        self._save_raw(job, f"round-{len(record.rounds) + 1}", answer, {})
        result = parse_instrumentation(answer.text, answer.status)
        one = Round(
            samples_ms=result.samples_ms,
            creation_ms=result.creation_ms,
            first_call_ms=result.first_call_ms,
        )
        parity = app.compare(job.subject, result)
        middle = statistics.median(result.samples_ms)
        return self._with_round(record, one, before, parity), f"{middle:.2f} ms"

    # Cooling.

    def _cool_down(self) -> Conditions:
        """Waits until the phone is cool enough, and returns its conditions then."""
        limit = time.monotonic() + self._protocol.cool_seconds
        has_logged = False
        while True:
            now = read_conditions(self._device)
            reasons = []
            if (now.thermal_status or 0) > self._protocol.max_thermal_status:
                reasons.append(f"thermal status {now.thermal_status}")
            if now.celsius is not None and now.celsius > self._protocol.max_celsius:
                reasons.append(f"battery at {now.celsius:.1f} °C")
            if not reasons or self._device.dry_run:
                return now
            hot = ", ".join(reasons)
            if time.monotonic() > limit:
                raise DeviceRefusedError(
                    f"{self._device.serial} does not cool down in"
                    f" {self._protocol.cool_seconds:.0f} s ({hot}): put it in a cooler place, take"
                    " it out of its case, or set higher limits with --max-battery-celsius,"
                    " --max-thermal-status or --cool-down"
                )
            if not has_logged:
                self._log(f"waiting for the phone to cool down ({hot})")
                has_logged = True
            self._pause()

    def _pause(self) -> None:
        if self._device.stopping.wait(self._protocol.poll_seconds):
            raise InterruptedRunError("interrupted")

    # Setting up.

    def _prepare(self) -> None:
        """Removes what an earlier run left behind, and pushes all files."""
        remove_leftovers(self._device)
        self._boot_id = read_boot_id(self._device)
        self._run_checked(["mkdir", "-p", self._folder])
        sums: dict[str, str] = {}
        files = self._files
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            for name, content in self._named_contents():
                local = Path(folder) / name
                local.write_bytes(content)
                self._push(local, f"{self._folder}/{name}", sums)
                local.unlink()
        if files.tool is not None:
            self._push(files.tool, f"{self._folder}/{TOOL}", sums)
        # The app runs as another user of the phone and must be able to read its files here.
        self._run_checked(["chmod", "755", self._folder, *(f for f in sums if f.endswith(TOOL))])
        others = [f for f in sums if not f.endswith(TOOL)]
        if others:
            self._run_checked(["chmod", "644", *others])
        if not self._device.dry_run and self._sha256(list(sums)) != sums:
            raise DeviceLostError(f"{self._device.serial}: files were damaged on the way there")
        if files.app is not None:
            self._run_checked(["touch", f"{self._folder}/{_INSTALLED_MARKER}"])
            self._device.install(files.app.apk)
        self._ready = True

    def _named_contents(self) -> list[tuple[str, bytes]]:
        files: list[tuple[str, bytes]] = []
        for index, payload in enumerate(self._files.payloads):
            files += [
                (f"{index}.tflite", payload.model),
                (f"{index}.bin", payload.input_values),
            ]
        if self._files.app is not None:
            files += [
                (f"{index}.task", content)
                for index, content in enumerate(self._files.bundles.values())
            ]
            files.append(("photo.png", self._files.app.photo))
        return files

    def _push(self, local: Path, remote: str, sums: dict[str, str]) -> None:
        self._device.push(local, remote)
        sums[remote] = hashlib.sha256(local.read_bytes()).hexdigest()

    def _run_checked(self, command: list[str]) -> None:
        """Runs a command that changes something and has to succeed."""
        answer = self._device.shell(command, changes=True)
        if answer.status != 0:
            said = " ".join(answer.text.split())[:200]
            raise AdbError(f"{self._device.serial}: '{' '.join(command[:2])}' failed: {said}")

    def _sha256(self, remote: list[str]) -> dict[str, str]:
        """Returns the SHA-256 of each of the files that exists."""
        lines = self._device.shell(["sha256sum", *remote], 60.0).stdout.splitlines()
        pairs = (line.split(maxsplit=1) for line in lines)
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}

    def _wait_for_return(self, lost: DeviceLostError) -> None:
        self._log(f"{lost}; waiting up to {self._protocol.return_seconds:.0f} s for it to return")
        limit = time.monotonic() + self._protocol.return_seconds
        while time.monotonic() < limit:
            self._pause()
            try:
                self._device.reconnect()
                booted = self._device.shell(["getprop", "sys.boot_completed"])
                if booted.stdout.strip() != "1":
                    continue
                boot_id = read_boot_id(self._device)
            except InterruptedRunError:
                raise
            except AndroidError:
                continue
            restarted = self._boot_id and boot_id and boot_id != self._boot_id
            self._log("the phone is back" + (", restarted" if restarted else ""))
            return
        raise DeviceLostError(
            f"{lost}; it did not come back in {self._protocol.return_seconds:.0f} s."
            " Run the same command again to continue; it removes what is left on the phone"
        )

    # Cleaning up.

    def _clean_up(self) -> None:
        try:
            remove_folder(
                self._device, self._folder, App.PACKAGE if self._files.app is not None else None
            )
        except AndroidError as error:
            self._log(
                f"cleaning up failed ({error}); the next run removes {self._folder} from the phone"
            )


def remove_leftovers(device: Device) -> tuple[str, ...]:
    """Removes what interrupted runs left on a phone.

    Args:
      device: The phone, which no other run may be using.

    Returns:
      The folders that were removed.

    Raises:
      DeviceLostError, AdbError, InterruptedRunError: as for `Device`.
    """
    listed = device.shell(["ls", REMOTE_PARENT])
    names = [n for n in listed.stdout.split() if n.startswith(FOLDER_PREFIX)]
    folders = tuple(f"{REMOTE_PARENT}/{name}" for name in names)
    for folder in folders:
        has_app = device.shell(["ls", f"{folder}/{_INSTALLED_MARKER}"]).status == 0
        remove_folder(device, folder, App.PACKAGE if has_app else None)
    return folders


def remove_folder(device: Device, folder: str, package: str | None) -> None:
    """Ends the processes of one of our folders and removes it, also after `Adb.stop`.

    Args:
      device: The phone.
      folder: The folder; it is no error if it does not exist.
      package: An app to uninstall as well; None if there is none.

    Raises:
      DeviceLostError, DeviceRefusedError, AdbError: as for `Device`, or the folder cannot be
        removed.
    """
    kill_processes(device, folder)
    if package is not None:
        device.uninstall(package)
    command = ["rm", "-rf", folder]
    answer = device.shell(command, _CLEANUP_TIMEOUT, changes=True, cleanup=True)
    if answer.status != 0:
        reason = " ".join(answer.text.split())[:200]
        raise AdbError(f"{device.serial}: cannot remove {folder}: {reason}")


def kill_processes(device: Device, folder: str) -> None:
    """Ends the processes that run from one of our folders, where the phone has pkill."""
    # The shell that runs pkill has the pattern in its command line, which must not match it.
    name = folder.rpartition("/")[2]
    pattern = f"[{name[0]}]{name[1:]}/"
    device.shell(["pkill", "-f", pattern], CALL_TIMEOUT, changes=True, cleanup=True)
