"""Measures several phones at once and makes the report."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from android_harness.adb import Adb, Device, ListedDevice, is_network_serial
from android_harness.binary import PUBLISHED_ABIS, ToolBinary, download_binary
from android_harness.cases import Case, cases_of
from android_harness.errors import AndroidError, DeviceRefusedError, InterruptedRunError
from android_harness.instrumentation import App, png, thumbnail
from android_harness.payload import Payload, payloads_of
from android_harness.phone import Needs, check_phone, read_conditions, read_identity, read_phone
from android_harness.phone_run import Job, PhoneRun, PushedFiles
from android_harness.protocol import CASE_NAMES, Protocol
from android_harness.state import CaseRecord, PhoneRecord, StateFile
from benchmarks import report
from benchmarks.subject import LoadedSubject
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.tflite.validation import check_loads

_APP_CASES = (
    Case("app-cpu", report.Settings(delegate="xnnpack"), ()),
    Case("app-gpu", report.Settings(delegate="gpu"), ()),
)
# Space for a benchmark_model that is still to be downloaded; the published one has a few MB.
_TOOL_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Request:
    """What to measure, and how.

    Attributes:
      subjects: Bundles or models.
      photo: [height, width, 3] uint8 RGB; must show a face if there is an app.
      tools: The user's benchmark_model programs, by ABI.
      download: Whether to download benchmark_model for other ABIs.
      sha256: Required SHA-256 of the download; None to require the recorded one.
      download_url: Address of the folder with the downloads.
      apk: The app; None to measure without it.
      cases: Names of the cases to measure, any of `CASE_NAMES`.
      protocol: How to measure.
      min_battery: Minimum charge of the battery in percent.
      raw: Folder for the tool's own outputs; None to discard them.
    """

    subjects: tuple[LoadedSubject, ...]
    photo: npt.NDArray[np.uint8]
    tools: Mapping[str, ToolBinary]
    download: bool
    sha256: str | None
    download_url: str
    apk: Path | None
    cases: tuple[str, ...] = CASE_NAMES
    protocol: Protocol = dataclasses.field(default_factory=Protocol)
    min_battery: int = 20
    raw: Path | None = None

    def fingerprint(self) -> str:
        """Returns a hash of all that results depend on, except the tool, which `Device` records."""
        protocol = self.protocol
        parts: dict[str, Any] = {
            "subjects": [s.description.sha256 for s in self.subjects],
            "photo": hashlib.sha256(self.photo.tobytes()).hexdigest(),
            "app": hashlib.sha256(self.apk.read_bytes()).hexdigest() if self.apk else None,
            "calls": [
                protocol.runs,
                protocol.min_seconds,
                protocol.max_seconds,
                protocol.warm_up_seconds,
                protocol.app_runs,
            ],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
      report: Results of the phones that were measured completely; None if there are none.
      problems: Messages for the other phones, a line for each.
      complete: Whether nothing is left to resume.
    """

    report: report.Report | None
    problems: tuple[str, ...]
    complete: bool


def choose_devices(
    listed: Sequence[ListedDevice],
    serials: Sequence[str],
    use_all: bool,
    distinct: Callable[[Sequence[str]], tuple[str, ...]] = tuple,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Chooses the phones to measure.

    Args:
      listed: The devices that adb lists.
      serials: Serial numbers of the phones to use; if empty, the only phone is used.
      use_all: Whether to use all phones that are usable.
      distinct: Reduces the serial numbers of usable devices to one for each phone, as
        `distinct_phones` does.

    Returns:
      Serial numbers, and unless phones were named, a sentence for each that is unusable.

    Raises:
      AndroidError: a phone is not listed or unusable, there is no usable phone at all, or there
        are several and none was chosen.
    """
    by_serial = {device.serial: device for device in listed}
    if serials:
        for serial in serials:
            if serial not in by_serial:
                names = ", ".join(by_serial) or "none"
                raise AndroidError(
                    f"--serial {serial}: adb lists no such device; it lists {names}"
                    " (a phone on the network needs 'adb connect' first)"
                )
            if by_serial[serial].advice:
                raise DeviceRefusedError(_unusable(by_serial[serial]))
            if _is_ambiguous(by_serial[serial], listed):
                raise DeviceRefusedError(_AMBIGUOUS.format(serial))
        return distinct(tuple(dict.fromkeys(serials))), ()
    ambiguous = {d.serial for d in listed if not d.advice and _is_ambiguous(d, listed)}
    usable = tuple(d.serial for d in listed if not d.advice and d.serial not in ambiguous)
    unusable = tuple(_unusable(device) for device in listed if device.advice)
    unusable += tuple(_AMBIGUOUS.format(serial) for serial in sorted(ambiguous))
    if not usable:
        raise AndroidError(
            "; ".join(unusable)
            or "adb lists no device: plug a phone in and switch on USB debugging in its developer"
            " options, or 'adb connect' it"
        )
    usable = distinct(usable)
    if len(usable) > 1 and not use_all:
        raise AndroidError(
            f"adb lists several phones ({', '.join(usable)}): choose with --serial, or use --all"
        )
    return usable, unusable


def distinct_phones(
    adb: Adb,
    serials: Sequence[str],
    log: Callable[[str], None],
    known: Collection[str] = (),
) -> tuple[str, ...]:
    """Leaves out devices that are the same phone as another, as over USB and over Wi-Fi.

    Args:
      adb: The adb client.
      serials: Serial numbers of devices, as adb lists them.
      log: Is called with a line for each phone that is listed more than once.
      known: SHA-256 of serial numbers of which an interrupted run has results.

    Returns:
      A serial number for each phone: one that is known, so that its run is resumed; otherwise that
      over USB if there is one, because USB is faster and more reliable.

    Raises:
      InterruptedRunError: the user stopped the run.
    """
    if len(serials) < 2:
        return tuple(serials)
    phones: dict[str, list[str]] = {}
    for serial in serials:
        try:
            identity = read_identity(adb.device(serial))
        except InterruptedRunError:
            raise
        except AndroidError:
            identity = ""  # Measuring it gives the reason.
        phones.setdefault(identity or f"as {serial}", []).append(serial)
    kept = []
    for names in phones.values():
        # Stable, so that the first of several is kept.
        names.sort(key=lambda name: (_serial_key(name) not in known, is_network_serial(name)))
        kept.append(names[0])
        if len(names) > 1:
            log(f"{' and '.join(names)} are one phone, which is measured once, as {names[0]}")
    return tuple(kept)


def run(
    adb: Adb,
    serials: Sequence[str],
    request: Request,
    state: StateFile,
    options: dict[str, Any],
    log: Callable[[str], None],
) -> Outcome:
    """Measures phones at the same time, each in a thread of its own.

    Args:
      adb: The adb client.
      serials: Serial numbers of the phones.
      request: What to measure.
      state: Results so far, to which new ones are added at once.
      options: The report's `options`.
      log: Is called with lines for the user, from any thread.

    Returns:
      The result. A phone that fails does not affect the others.

    Raises:
      KeyboardInterrupt: the user stopped the run; the phones have been cleaned up.
      AndroidError: a bundle cannot be measured.
      BundleError: a bundle is not safe to load, or cannot be run.
      OSError: the state or a raw output cannot be written.
    """
    begin = time.monotonic()
    payloads, app = _prepare(request)
    problems: list[str] = []
    with ThreadPoolExecutor(len(serials), thread_name_prefix="phone") as pool:
        futures = {
            pool.submit(_measure, adb.device(serial), request, payloads, app, state, log): serial
            for serial in serials
        }
        try:
            for future in futures:
                try:
                    future.result()
                except InterruptedRunError:
                    raise
                except AndroidError as error:
                    problems.append(str(error))
        except BaseException:
            # This ends all running calls, after which the threads clean their phones up.
            adb.stop()
            raise
    if adb.dry_run:
        return Outcome(None, tuple(problems), complete=True)
    with state.change() as current:
        current.seconds += time.monotonic() - begin
        phones = dict(current.phones)
        began, seconds = current.began, current.seconds
    done = {
        key: record
        for key, record in phones.items()
        if all(request.protocol.is_done(case) for case in record.cases.values())
    }
    made = _make_report(done, request, began, seconds, options) if done else None
    return Outcome(made, tuple(problems), complete=len(done) == len(phones) > 0)


def _serial_key(serial: str) -> str:
    return hashlib.sha256(serial.encode()).hexdigest()


def _unusable(device: ListedDevice) -> str:
    state = "" if device.state == "device" else f" is {device.state}"
    return f"{device.serial}{state}: {device.advice}"


_AMBIGUOUS = "adb lists several devices as {} and cannot tell them apart: unplug all but one"


def _is_ambiguous(device: ListedDevice, listed: Sequence[ListedDevice]) -> bool:
    return sum(other.serial == device.serial for other in listed) > 1


def _prepare(request: Request) -> tuple[tuple[Payload, ...], App | None]:
    payloads: list[Payload] = []
    if request.cases:
        for subject in request.subjects:
            # The models also run on this computer, for the expected results.
            check_loads(subject.models, subject.description.file)
            payloads += payloads_of(subject, request.photo)
    if request.apk is None:
        return tuple(payloads), None
    expected = {}
    for subject in request.subjects:
        name = subject.description.name
        if subject.bundle is None:
            raise AndroidError(f"{subject.description.file} is not a bundle, and the app needs one")
        options = FaceStylizerOptions(backend="portable")
        with FaceStylizer(subject.bundle, options) as stylizer:
            face = stylizer.stylize(request.photo)
        if face is None:
            raise AndroidError(f"{name} finds no face in the photo, but the app needs one")
        expected[name] = thumbnail(face.image)
    return tuple(payloads), App(request.apk, png(request.photo), expected)


def _measure(
    device: Device,
    request: Request,
    payloads: tuple[Payload, ...],
    app: App | None,
    state: StateFile,
    log: Callable[[str], None],
) -> None:
    """Measures one phone."""

    def say(text: str) -> None:
        log(f"{device.serial}: {text}")

    with ExitStack() as locks:
        locks.enter_context(_exclusive_use(device.serial, device.serial))
        if identity := read_identity(device):
            # Another run may have reached the same phone by another name.
            locks.enter_context(_exclusive_use(device.serial, identity))
        phone = read_phone(device)
        conditions = read_conditions(device)
        abis = frozenset(request.tools) | (PUBLISHED_ABIS if request.download else frozenset())
        bundles = {s.description.name: s.bundle.to_bytes() for s in request.subjects if s.bundle}
        files = PushedFiles(None, payloads, app, bundles if app else {})
        tool_bytes = _TOOL_BYTES if payloads else 0
        needs = Needs(abis if payloads else None, files.size() + tool_bytes, request.min_battery)
        for remark in check_phone(phone, conditions, needs):
            say(f"note: {remark}")
        versions = {}
        if payloads:
            abi = next(abi for abi in phone.abis if abi in abis)
            tool = request.tools.get(abi)
            if tool is None:
                if device.dry_run:
                    raise AndroidError("a dry run downloads nothing: give --benchmark-model PATH")
                tool = download_binary(abi, request.sha256, request.download_url)
            files = dataclasses.replace(files, tool=tool.path)
            versions = {"benchmark_model sha256": tool.sha256}
        if app is not None:
            versions["app sha256"] = hashlib.sha256(app.apk.read_bytes()).hexdigest()
        described = report.Device(
            name=phone.name,
            kind="phone",
            processor=phone.processor,
            architecture=phone.abis[0],
            cores=phone.cores,
            system=f"Android {phone.release} (API {phone.sdk})",
            governor=phone.governor,
            memory_bytes=phone.memory_bytes,
            versions=versions,
            serial_sha256=_serial_key(device.serial),
            before=conditions,
        )
        jobs = _jobs(cases_of(phone, request.cases), payloads, app)
        _record_start(state, described, jobs, say)
        PhoneRun(device, files, request.protocol, state, request.raw, say).run(jobs)
        if not device.dry_run:
            _record_end(state, described, read_conditions(device))


def _record_start(
    state: StateFile, device: report.Device, jobs: Sequence[Job], say: Callable[[str], None]
) -> None:
    """Adds the jobs of a phone to the state; jobs that are there already keep their results."""
    with state.change() as current:
        record = current.phones.setdefault(str(device.serial_sha256), PhoneRecord(device))
        if record.device.versions != device.versions:
            raise AndroidError(
                f"{state.path} has results of this phone with another benchmark_model or app:"
                " --restart discards them"
            )
        known = sum(bool(c.rounds or c.error) for c in record.cases.values())
        record.cases = {job.key: record.cases.get(job.key, job.record()) for job in jobs}
    if known:
        say(f"resumes; {known} of {len(jobs)} cases were started before")


def _record_end(state: StateFile, device: report.Device, after: report.Conditions) -> None:
    """Adds the conditions of a phone after its last row to the state."""
    with state.change() as current:
        record = current.phones[str(device.serial_sha256)]
        record.device = dataclasses.replace(record.device, after=after)


@contextmanager
def _exclusive_use(serial: str, key: str) -> Iterator[None]:
    """Locks a phone against other runs of this computer, so that files on it are leftovers.

    Args:
      serial: The phone's name in the error message.
      key: What is locked: a name or the identity of the phone.
    """
    name = re.sub(r"\W", "_", serial)[:64] if key == serial else "phone"
    name += hashlib.sha256(key.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"mm-face-stylizer-{name}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another run may have removed the file between the two calls, when it ended.
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise FileNotFoundError(path)
        except OSError as error:
            raise DeviceRefusedError(f"{serial} is being measured by another run") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _jobs(cases: Sequence[Case], payloads: Sequence[Payload], app: App | None) -> tuple[Job, ...]:
    jobs = [Job(p.subject, p.stage, case, p) for p in payloads for case in cases]
    if app is not None:
        jobs += [
            Job(subject, "end_to_end", case, None)
            for subject in app.expected
            for case in _APP_CASES
        ]
    return tuple(jobs)


def _make_report(
    phones: Mapping[str, PhoneRecord],
    request: Request,
    began: str,
    seconds: float,
    options: dict[str, Any],
) -> report.Report:
    names = [record.device.name for record in phones.values()]
    devices, rows = [], []
    for key, record in phones.items():
        name = record.device.name
        if names.count(name) > 1:
            name = f"{name} ({key[:4]})"
        devices.append(dataclasses.replace(record.device, name=name))
        rows += [_make_row(name, case) for case in record.cases.values()]
    return report.Report(
        began=began,
        seconds=round(seconds, 1),
        options=options,
        devices=tuple(devices),
        subjects=tuple(subject.description for subject in request.subjects),
        rows=tuple(rows),
    )


def _make_row(device: str, record: CaseRecord) -> report.Row:
    return report.Row(
        device=device,
        subject=record.subject,
        stage=record.stage,
        runtime=record.runtime,
        settings=record.settings,
        rounds=record.rounds,
        parity=record.parity,
        memory=record.memory,
        coverage=record.coverage,
        profile=record.profile,
        error=record.error,
    )
