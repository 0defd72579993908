"""A benchmark on several phones at once, and the report of it."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from android_harness.adb import Adb, ListedDevice
from android_harness.binary import PUBLISHED_ABIS, ToolBinary, download_binary
from android_harness.cases import Case, cases_of
from android_harness.errors import AndroidError, DeviceRefusedError, InterruptedRunError
from android_harness.instrumentation import App, png, thumbnail
from android_harness.payload import Payload, payloads_of
from android_harness.phone import Needs, check_phone, read_conditions, read_phone
from android_harness.phone_run import Freight, Job, PhoneRun
from android_harness.protocol import CASE_NAMES, Protocol
from android_harness.state import CaseRecord, PhoneRecord, StateFile
from benchmarks.report import Device, Report, Row, Settings
from benchmarks.subject import LoadedSubject
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.tflite.validation import check_loads

_APP_CASES = (
    Case("app-cpu", Settings(delegate="xnnpack"), ()),
    Case("app-gpu", Settings(delegate="gpu"), ()),
)
# What a new download may have; the published program has a few megabytes.
_TOOL_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
      subjects: bundles or models.
      photo: [height, width, 3] uint8 RGB; must show a face if there is an app.
      tools: benchmark_model by ABI, as the user gives it.
      download: whether to download it for other ABIs.
      sha256: what the download must be.
      download_url: the folder that has it.
      apk: the app; None without it.
      cases: which of `CASE_NAMES`.
      protocol: how to measure.
      min_battery: least charge in percent.
      raw: folder for the tool's own outputs, or None.
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
        """Names everything that makes results comparable, apart from the tool (see `Device`)."""
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
    """What became of a run.

    Attributes:
      report: the results of all phones that were measured to the end; None if there are none.
      problems: of the others, a line for each phone.
      complete: whether nothing is left to resume.
    """

    report: Report | None
    problems: tuple[str, ...]
    complete: bool


def choose_devices(
    listed: Sequence[ListedDevice], serials: Sequence[str], everything: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Chooses the phones to measure.

    Args:
      listed: what adb lists.
      serials: which of them; none to take the only one.
      everything: whether to take all that can be used.

    Returns:
      Serials, and a sentence for each phone that cannot be used where all were asked for.

    Raises:
      AndroidError: there is no such phone or none at all, one that is asked for cannot be used, or
        there are several to choose from.
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
        return tuple(dict.fromkeys(serials)), ()
    usable = tuple(device.serial for device in listed if not device.advice)
    unusable = tuple(_unusable(device) for device in listed if device.advice)
    if not usable:
        raise AndroidError(
            "; ".join(unusable)
            or "adb lists no device: plug a phone in and switch on USB debugging in its developer"
            " options, or 'adb connect' it"
        )
    if everything:
        return usable, unusable
    if len(usable) > 1:
        raise AndroidError(
            f"adb lists several phones ({', '.join(usable)}): choose with --serial, or take --all"
        )
    return usable, ()


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
      adb: the client.
      serials: the phones.
      request: what to measure.
      state: what is known already; results are added as they come.
      options: what the report says was asked for.
      log: takes lines for the user, from any thread.

    Returns:
      What became of it. A phone that fails does not disturb the others.

    Raises:
      KeyboardInterrupt: the user stopped it; phones are cleaned up before it goes on.
      AndroidError: a bundle cannot be measured.
      BundleError: likewise.
      OSError: the state or a raw output cannot be written.
    """
    begin = time.monotonic()
    payloads, app = _prepare(request)
    problems: list[str] = []
    with ThreadPoolExecutor(len(serials), thread_name_prefix="phone") as pool:
        futures = {
            pool.submit(_measure, adb, serial, request, payloads, app, state, log): serial
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
            # Ends the calls under way; the threads then clean their phones up.
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
    report = _report(done, request, began, seconds, options) if done else None
    return Outcome(report, tuple(problems), complete=len(done) == len(phones) > 0)


def _unusable(device: ListedDevice) -> str:
    return f"{device.serial} is {device.state}: {device.advice}"


def _prepare(request: Request) -> tuple[tuple[Payload, ...], App | None]:
    payloads: list[Payload] = []
    if request.cases:
        for subject in request.subjects:
            # The models run here, too, to know what must come out.
            check_loads(subject.models, subject.description.file)
            payloads += payloads_of(subject, request.photo)
    if request.apk is None:
        return tuple(payloads), None
    expected = {}
    for subject in request.subjects:
        name = subject.description.name
        if subject.bundle is None:
            raise AndroidError(f"{subject.description.file} is no bundle, which the app needs")
        options = FaceStylizerOptions(backend="portable")
        with FaceStylizer(subject.bundle, options) as stylizer:
            face = stylizer.stylize(request.photo)
        if face is None:
            raise AndroidError(f"{name} finds no face in the photo, and the app needs one")
        expected[name] = thumbnail(face.image)
    return tuple(payloads), App(request.apk, png(request.photo), expected)


def _measure(
    adb: Adb,
    serial: str,
    request: Request,
    payloads: tuple[Payload, ...],
    app: App | None,
    state: StateFile,
    log: Callable[[str], None],
) -> None:
    def say(text: str) -> None:
        log(f"{serial}: {text}")

    with _only_run(serial):
        phone = read_phone(adb, serial)
        conditions = read_conditions(adb, serial)
        abis = frozenset(request.tools) | (PUBLISHED_ABIS if request.download else frozenset())
        bundles = {s.description.name: s.bundle.to_bytes() for s in request.subjects if s.bundle}
        freight = Freight(None, payloads, app, bundles if app else {})
        spare = _TOOL_BYTES if payloads else 0
        needs = Needs(abis if payloads else None, freight.size() + spare, request.min_battery)
        for remark in check_phone(phone, conditions, needs):
            say(f"note: {remark}")
        versions = {}
        if payloads:
            abi = next(abi for abi in phone.abis if abi in abis)
            tool = request.tools.get(abi)
            if tool is None:
                if adb.dry_run:
                    raise AndroidError("a dry run downloads nothing: give --benchmark-model PATH")
                tool = download_binary(abi, request.sha256, request.download_url)
            freight = dataclasses.replace(freight, tool=tool.path)
            versions = {"benchmark_model sha256": tool.sha256}
        if app is not None:
            versions["app sha256"] = hashlib.sha256(app.apk.read_bytes()).hexdigest()
        device = Device(
            name=phone.name,
            kind="phone",
            processor=phone.processor,
            architecture=phone.abis[0],
            cores=phone.cores,
            system=f"Android {phone.release} (API {phone.sdk})",
            governor=phone.governor,
            memory_bytes=phone.memory_bytes,
            versions=versions,
            serial_sha256=hashlib.sha256(serial.encode()).hexdigest(),
            before=conditions,
        )
        jobs = _jobs(cases_of(phone, request.cases), payloads, app)
        _enter(state, device, jobs, say)
        phone_run = PhoneRun(adb, phone, freight, request.protocol, state, request.raw, say)
        phone_run.run(jobs)
        if not adb.dry_run:
            _leave(state, device, read_conditions(adb, serial))


def _enter(
    state: StateFile, device: Device, jobs: Sequence[Job], say: Callable[[str], None]
) -> None:
    """Writes down what is to be measured; what is known of it already stays."""
    with state.change() as current:
        record = current.phones.setdefault(str(device.serial_sha256), PhoneRecord(device))
        if record.device.versions != device.versions:
            raise AndroidError(
                f"{state.path} has results of this phone with another benchmark_model or app:"
                " --restart begins anew"
            )
        known = sum(bool(c.rounds or c.error) for c in record.cases.values())
        record.cases = {job.key: record.cases.get(job.key, job.record()) for job in jobs}
    if known:
        say(f"goes on; {known} of {len(jobs)} cases have been begun before")


def _leave(state: StateFile, device: Device, after: Any) -> None:
    with state.change() as current:
        record = current.phones[str(device.serial_sha256)]
        record.device = dataclasses.replace(record.device, after=after)


@contextmanager
def _only_run(serial: str) -> Iterator[None]:
    """Keeps a second run on this computer off a phone; what it finds there is then a leftover."""
    name = re.sub(r"\W", "_", serial) + hashlib.sha256(serial.encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"mm-face-stylizer-{name}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that ended between the two calls has taken the file away.
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


def _report(
    phones: Mapping[str, PhoneRecord],
    request: Request,
    began: str,
    seconds: float,
    options: dict[str, Any],
) -> Report:
    names = [record.device.name for record in phones.values()]
    devices, rows = [], []
    for key, record in phones.items():
        name = record.device.name
        if names.count(name) > 1:
            name = f"{name} ({key[:4]})"
        devices.append(dataclasses.replace(record.device, name=name))
        rows += [_row(name, case) for case in record.cases.values()]
    return Report(
        began=began,
        seconds=round(seconds, 1),
        options=options,
        devices=tuple(devices),
        subjects=tuple(subject.description for subject in request.subjects),
        rows=tuple(rows),
    )


def _row(device: str, record: CaseRecord) -> Row:
    return Row(
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
