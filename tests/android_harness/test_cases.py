import dataclasses

from android_harness.cases import cases_of
from android_harness.phone import Phone
from android_harness.protocol import CASE_NAMES

PHONE = Phone(
    serial="x",
    name="Google Pixel 6",
    release="14",
    sdk=34,
    abis=("arm64-v8a",),
    processor="GS101",
    frequencies=dict(enumerate([1803000] * 4 + [2253000] * 2 + [2802000] * 2)),
    cores=8,
    governor=None,
    memory_bytes=None,
    free_bytes=None,
)


def test_a_phone_of_today_has_all_cases() -> None:
    cases = cases_of(PHONE)
    assert tuple(case.name for case in cases) == CASE_NAMES
    assert len({case.settings for case in cases}) == len(cases)


def test_every_case_says_what_it_does_about_delegates() -> None:
    flags = {case.name: case.flags for case in cases_of(PHONE)}
    # Without the flag, the tool leaves the choice to the runtime, which uses XNNPACK.
    assert "--use_xnnpack=false" in flags["builtin-1"]
    assert "--use_xnnpack=true" in flags["cpu-1"]
    assert "--gpu_precision_loss_allowed=false" in flags["gpu-float32"]


def test_big_cases_are_bound_to_the_big_cores() -> None:
    cases = {case.name: case for case in cases_of(PHONE)}
    assert cases["big-4"].mask == "f0" and cases["big-4"].settings.cores == "4-7"
    assert cases["cpu-4"].mask is None


def test_threads_are_no_more_than_the_big_cores() -> None:
    two_big = dataclasses.replace(PHONE, frequencies={0: 1, 1: 1, 2: 2, 3: 2})
    cases = {case.name: case for case in cases_of(two_big)}
    assert cases["big-4"].settings.threads == 2
    one_big = dataclasses.replace(PHONE, frequencies={0: 1, 1: 2})
    assert [c.name for c in cases_of(one_big) if c.mask] == ["big-1"]


def test_phones_without_big_cores_or_nnapi_have_fewer_cases() -> None:
    old = dataclasses.replace(PHONE, sdk=26, frequencies={})
    names = [case.name for case in cases_of(old)]
    assert "nnapi" not in names and not any(name.startswith("big") for name in names)


def test_only_what_is_asked_for_is_there() -> None:
    assert [case.name for case in cases_of(PHONE, ("gpu", "cpu-1"))] == ["cpu-1", "gpu"]
