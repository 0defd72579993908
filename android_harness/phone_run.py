"""All measurements of one phone, from pushing files to cleaning up."""

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

from android_harness.adb import CALL_TIMEOUT, Adb, Answer
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
from android_harness.phone import REMOTE_PARENT, Phone, read_boot_id, read_conditions
from android_harness.protocol import TOOL, Protocol
from android_harness.state import CaseRecord, StateFile
from android_harness.tool import ToolResult, parse_output
from benchmarks.report import Conditions, Memory, Parity, Round

# The marker of what is ours on a phone; what carries it is removed at the next contact.
FOLDER_PREFIX = "mm-face-stylizer-"
_INSTALLED = "app-installed"
# From THERMAL_STATUS_LIGHT on Android slows something down.
_THROTTLING = 1
_LOSSES_PER_CASE = 3
_CLEANUP_TIMEOUT = 15.0
_MEBIBYTE = 2**20
_EXTRA_RUNS = 20


@dataclass(frozen=True)
class Job:
    """One case of one model, or of one bundle in the app.

    Attributes:
      subject: the subject's name.
      stage: what is timed.
      case: how.
      payload: the model; None for the app, which runs all of a bundle.
    """

    subject: str
    stage: str
    case: Case
    payload: Payload | None

    @property
    def key(self) -> str:
        """Its name in the state."""
        return f"{self.subject}/{self.stage}/{self.case.name}"

    def record(self) -> CaseRecord:
        """What is known of it before anything was measured."""
        runtime = "tasks-vision" if self.payload is None else TOOL
        return CaseRecord(self.subject, self.stage, runtime, self.case.settings)


@dataclass(frozen=True)
class Freight:
    """What is pushed.

    Attributes:
      tool: benchmark_model for this phone; None if only the app runs.
      payloads: models with their inputs.
      app: the app; None without it.
      bundles: archives for the app, by subject.
    """

    tool: Path | None
    payloads: tuple[Payload, ...]
    app: App | None
    bundles: Mapping[str, bytes]

    def size(self) -> int:
        """Bytes that a phone needs for it, with what the tool writes."""
        models = sum(len(p.model) + len(p.input_values) for p in self.payloads)
        outputs = max((sum(a.nbytes for a in p.expected) for p in self.payloads), default=0)
        tool = self.tool.stat().st_size if self.tool else 0
        # An app takes twice its package: the file, and what is unpacked.
        app = 3 * self.app.apk.stat().st_size if self.app else 0
        return models + outputs + tool + app + sum(map(len, self.bundles.values())) + _MEBIBYTE


class PhoneRun:
    """Measures one phone."""

    def __init__(
        self,
        adb: Adb,
        phone: Phone,
        freight: Freight,
        protocol: Protocol,
        state: StateFile,
        raw: Path | None,
        log: Callable[[str], None],
    ) -> None:
        """Prepares; the phone is not touched yet.

        Args:
          adb: the client.
          phone: the phone.
          freight: what goes there.
          protocol: how to measure.
          state: where results go, round by round.
          raw: folder for the tool's own outputs; None to throw them away.
          log: takes lines for the user.
        """
        self._adb = adb
        self._phone = phone
        self._serial = phone.serial
        self._freight = freight
        self._protocol = protocol
        self._state = state
        self._raw = raw
        self._log = log
        self._folder = f"{REMOTE_PARENT}/{FOLDER_PREFIX}{secrets.token_hex(6)}"
        self._ready = False
        self._boot_id = ""
        self._serial_key = hashlib.sha256(phone.serial.encode()).hexdigest()

    def run(self, jobs: tuple[Job, ...]) -> None:
        """Measures all jobs that the state does not have yet, then cleans up.

        Args:
          jobs: what to measure. Rounds go round: each job once, then each job again.

        Raises:
          DeviceLostError: the phone is gone and does not come back.
          DeviceRefusedError: it does not get cool, or does not let us any more.
          AdbError, InterruptedRunError: as for `Adb.shell`.
        """
        try:
            for number in range(self._protocol.rounds):
                for job in jobs:
                    if self._lacks_round(job, number):
                        self._despite_losses(job, functools.partial(self._round, job, number))
            for job in jobs:
                for extra in self._protocol.missing_extras(self._record(job)):
                    self._despite_losses(job, functools.partial(self._extra, job, extra))
        finally:
            self._clean_up()

    # What is left to do.

    def _record(self, job: Job) -> CaseRecord:
        with self._state.read() as state:
            return replace(state.phones[self._serial_key].cases[job.key])

    def _keep(self, job: Job, record: CaseRecord) -> None:
        with self._state.change() as state:
            state.phones[self._serial_key].cases[job.key] = record

    def _lacks_round(self, job: Job, number: int) -> bool:
        return number in self._protocol.missing_rounds(self._record(job))

    # One measurement.

    def _despite_losses(self, job: Job, work: Callable[[], None]) -> None:
        """Does some work again after the phone was gone for a while."""
        for attempt in range(_LOSSES_PER_CASE):
            try:
                if not self._ready:
                    self._prepare()
                work()
                return
            except DeviceLostError as error:
                self._ready = False
                if attempt == _LOSSES_PER_CASE - 1:
                    raise DeviceLostError(
                        f"{error}; it happened {_LOSSES_PER_CASE} times in {job.key}"
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
            # A phone that restarts kills what runs on it first.
            if read_boot_id(self._adb, self._serial) != self._boot_id:
                raise DeviceLostError(f"{self._serial} has restarted") from error
            record, summary = replace(record, rounds=(), error=str(error)), ""
        if self._adb.dry_run:
            return
        self._keep(job, record)
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
        return self._add_round(record, one, before, parity), f"{middle:.2f} ms"

    def _add_round(
        self, record: CaseRecord, one: Round, before: Conditions, parity: Parity | None
    ) -> CaseRecord:
        """Completes a round with the phone's state, and adds it.

        Args:
          record: what is known of the case.
          one: the round's times.
          before: the phone before it.
          parity: whether its result is the right one, if that is known.

        Returns:
          What is known now; of a wrong result there are no times.
        """
        after = read_conditions(self._adb, self._serial)
        throttled = (after.thermal_status or 0) >= _THROTTLING
        one = replace(one, before=before, after=after, throttled=throttled)
        comparisons = () if parity is None else (parity,)
        record = replace(record, rounds=(*record.rounds, one), parity=comparisons)
        if parity is not None and not parity.passed:
            error = (
                f"wrong result: it differs from {parity.against} by {parity.mean:.4g}"
                f" {parity.unit} on average, {parity.limit:g} may be"
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
            # The times stand; only this is missing.
            self._log(f"{job.key}: no {extra}: {error}")
            result = None
        if self._adb.dry_run:
            return
        if result is not None and extra == "profile":
            record = replace(record, profile=result.profile)
        if result is not None and result.memory is not None:
            steady = round(result.memory.resident * _MEBIBYTE)
            growth = round(result.memory.growth * _MEBIBYTE)
            peak = round(result.memory.peak * _MEBIBYTE)
            # The tool rounds what is resident down to whole megabytes, and counts growth from the
            # greatest size at its start.
            baseline = max(0, steady - growth)
            record = replace(
                record,
                memory=Memory(baseline, steady, max(peak, steady), result.calls.count),
            )
        self._keep(job, replace(record, extras_done=(*record.extras_done, extra)))

    def _run_tool(
        self, job: Job, payload: Payload, flags: list[str], label: str
    ) -> tuple[ToolResult | None, bytes | None]:
        """Runs benchmark_model; returns what it says, and its output tensors where it saves them.

        In a dry run there is neither.
        """
        index = self._freight.payloads.index(payload)
        written = {name: f"{self._folder}/{name}" for name in ("result.pb", "output.bin")}
        self._adb.shell(self._serial, ["rm", "-f", *written.values()], changes=True)
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
        answer = self._run_limited(command, self._protocol.run_timeout)
        if self._adb.dry_run:
            return None, None
        files = self._pull_written(written) if answer.status == 0 else {}
        self._save_raw(job, label, answer, files)
        delegate = job.case.settings.delegate
        result = parse_output(
            answer.text,
            answer.status,
            None if delegate == "none" else delegate,
            files.get("result.pb"),
        )
        return result, files.get("output.bin")

    def _run_limited(self, command: list[str], timeout: float) -> Answer:
        try:
            return self._adb.shell(self._serial, command, timeout, changes=True)
        except AdbTimeoutError as error:
            # Either the tool hangs, or the phone: this call finds out.
            self._kill_processes(self._folder)
            raise ToolError(f"it did not end in {timeout:.0f} s") from error

    def _pull_written(self, written: Mapping[str, str]) -> dict[str, bytes]:
        """Fetches the files that the tool wrote; older ones do not know all of the flags."""
        sums = self._sha256(list(written.values()))
        files = {}
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            for name, remote in written.items():
                if remote not in sums:
                    continue
                local = Path(folder) / name
                self._adb.pull(self._serial, remote, local, 2**24)
                files[name] = local.read_bytes()
                if hashlib.sha256(files[name]).hexdigest() != sums[remote]:
                    raise ToolError(f"{name} came back from the phone damaged")
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
        app = self._freight.app
        assert app is not None
        index = list(self._freight.bundles).index(job.subject)
        command = app.command(
            f"{self._folder}/{index}.task",
            f"{self._folder}/photo.png",
            "gpu" if job.case.settings.delegate == "gpu" else "cpu",
            self._protocol.app_runs,
        )
        answer = self._run_limited(list(command), self._protocol.run_timeout)
        if self._adb.dry_run:
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
        return self._add_round(record, one, before, parity), f"{middle:.2f} ms"

    # Heat.

    def _cool_down(self) -> Conditions:
        """Waits until the phone is cool enough; returns the state that it is in then."""
        limit = time.monotonic() + self._protocol.cool_seconds
        told = False
        while True:
            now = read_conditions(self._adb, self._serial)
            reasons = []
            if (now.thermal_status or 0) > self._protocol.max_thermal_status:
                reasons.append(f"thermal status {now.thermal_status}")
            if now.celsius is not None and now.celsius > self._protocol.max_celsius:
                reasons.append(f"battery at {now.celsius:.1f} °C")
            if not reasons or self._adb.dry_run:
                return now
            hot = ", ".join(reasons)
            if time.monotonic() > limit:
                raise DeviceRefusedError(
                    f"{self._serial} does not cool down in {self._protocol.cool_seconds:.0f} s"
                    f" ({hot}): put it where it is cooler, out of its case, or allow more with"
                    " --max-battery-celsius, --max-thermal-status or --cool-down"
                )
            if not told:
                self._log(f"waiting for it to cool down ({hot})")
                told = True
            self._pause()

    def _pause(self) -> None:
        if self._adb.stopping.wait(self._protocol.poll_seconds):
            raise InterruptedRunError("interrupted")

    # Being there.

    def _prepare(self) -> None:
        """Removes what an earlier run left behind, and pushes everything."""
        remove_leftovers(self._adb, self._serial)
        self._boot_id = read_boot_id(self._adb, self._serial)
        self._do(["mkdir", "-p", self._folder])
        sums: dict[str, str] = {}
        freight = self._freight
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            for name, content in self._files():
                local = Path(folder) / name
                local.write_bytes(content)
                self._push(local, f"{self._folder}/{name}", sums)
                local.unlink()
        if freight.tool is not None:
            self._push(freight.tool, f"{self._folder}/{TOOL}", sums)
        # The app, another user of the phone, reads its files here.
        self._do(["chmod", "755", self._folder, *(f for f in sums if f.endswith(TOOL))])
        others = [f for f in sums if not f.endswith(TOOL)]
        if others:
            self._do(["chmod", "644", *others])
        if not self._adb.dry_run and self._sha256(list(sums)) != sums:
            raise DeviceLostError(f"{self._serial}: files arrived damaged")
        if freight.app is not None:
            self._do(["touch", f"{self._folder}/{_INSTALLED}"])
            self._adb.install(self._serial, freight.app.apk)
        self._ready = True

    def _files(self) -> list[tuple[str, bytes]]:
        files: list[tuple[str, bytes]] = []
        for index, payload in enumerate(self._freight.payloads):
            files += [
                (f"{index}.tflite", payload.model),
                (f"{index}.bin", payload.input_values),
            ]
        if self._freight.app is not None:
            files += [
                (f"{index}.task", content)
                for index, content in enumerate(self._freight.bundles.values())
            ]
            files.append(("photo.png", self._freight.app.photo))
        return files

    def _push(self, local: Path, remote: str, sums: dict[str, str]) -> None:
        self._adb.push(self._serial, local, remote)
        sums[remote] = hashlib.sha256(local.read_bytes()).hexdigest()

    def _do(self, command: list[str]) -> None:
        """Runs a command that has to succeed."""
        answer = self._adb.shell(self._serial, command, changes=True)
        if answer.status != 0:
            said = " ".join(answer.text.split())[:200]
            raise AdbError(f"{self._serial}: '{' '.join(command[:2])}' failed: {said}")

    def _sha256(self, remote: list[str]) -> dict[str, str]:
        """Returns the sums of those of the files that are there."""
        lines = self._adb.shell(self._serial, ["sha256sum", *remote], 60.0).stdout.splitlines()
        pairs = (line.split(maxsplit=1) for line in lines)
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}

    def _wait_for_return(self, lost: DeviceLostError) -> None:
        self._log(f"{lost}; waiting {self._protocol.return_seconds:.0f} s for it")
        limit = time.monotonic() + self._protocol.return_seconds
        while time.monotonic() < limit:
            self._pause()
            try:
                if ":" in self._serial:
                    self._adb.connect(self._serial)
                booted = self._adb.shell(self._serial, ["getprop", "sys.boot_completed"])
                if booted.stdout.strip() != "1":
                    continue
                boot_id = read_boot_id(self._adb, self._serial)
            except InterruptedRunError:
                raise
            except AndroidError:
                continue
            restarted = self._boot_id and boot_id and boot_id != self._boot_id
            self._log("it is back" + (", restarted" if restarted else ""))
            return
        raise DeviceLostError(
            f"{lost}; it did not come back in {self._protocol.return_seconds:.0f} s."
            " Run the same command again to go on; what lies on the phone is removed then"
        )

    # Leaving.

    def _kill_processes(self, folder: str) -> None:
        kill_processes(self._adb, self._serial, folder)

    def _clean_up(self) -> None:
        try:
            remove_folder(self._adb, self._serial, self._folder, self._freight.app)
        except AndroidError as error:
            self._log(
                f"not cleaned up ({error}); the next run removes {self._folder} from the phone"
            )


def remove_leftovers(adb: Adb, serial: str) -> tuple[str, ...]:
    """Removes what runs that were cut off left on a phone.

    Args:
      adb: the client.
      serial: the phone, which no other run may be using.

    Returns:
      The folders removed.

    Raises:
      DeviceLostError, AdbError, InterruptedRunError: as for `Adb.shell`.
    """
    listed = adb.shell(serial, ["ls", REMOTE_PARENT])
    names = [n for n in listed.stdout.split() if n.startswith(FOLDER_PREFIX)]
    folders = tuple(f"{REMOTE_PARENT}/{name}" for name in names)
    for folder in folders:
        has_app = adb.shell(serial, ["ls", f"{folder}/{_INSTALLED}"]).status == 0
        remove_folder(adb, serial, folder, App if has_app else None)
    return folders


def remove_folder(adb: Adb, serial: str, folder: str, app: App | type[App] | None) -> None:
    """Ends what runs out of a folder of ours and removes it, and the app with it.

    Args:
      adb: the client; this works after `Adb.stop`, too.
      serial: the phone.
      folder: the folder; one that is not there is no error.
      app: whether the app was installed.

    Raises:
      DeviceLostError, DeviceRefusedError, AdbError: the phone is gone, or does not do it.
    """
    kill_processes(adb, serial, folder)
    if app is not None:
        adb.uninstall(serial, app.PACKAGE)
    command = ["rm", "-rf", folder]
    answer = adb.shell(serial, command, _CLEANUP_TIMEOUT, changes=True, cleanup=True)
    if answer.status != 0:
        raise AdbError(f"{serial}: cannot remove {folder}: {' '.join(answer.text.split())[:200]}")


def kill_processes(adb: Adb, serial: str, folder: str) -> None:
    """Ends the processes of a folder of ours; where there are none, or no pkill, nothing."""
    # A pattern that does not match itself: pkill's own shell has it in its command line.
    name = folder.rpartition("/")[2]
    pattern = f"[{name[0]}]{name[1:]}/"
    adb.shell(serial, ["pkill", "-f", pattern], CALL_TIMEOUT, changes=True, cleanup=True)
