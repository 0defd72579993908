from collections.abc import Callable

import pytest
from adb_device import AdbDevice, AdbEnvironment, Battery, Phone
from android_client import environment

from android_harness.adb import Adb
from android_harness.errors import DeviceRefusedError
from android_harness.phone import Needs, check_phone, read_boot_id, read_conditions, read_phone
from benchmarks.report import Conditions

NEEDS = Needs(frozenset({"arm64-v8a"}), 1_000_000, 20)


@pytest.fixture
def client(adb: AdbEnvironment, monkeypatch: pytest.MonkeyPatch) -> Adb:
    environment(adb.variables, monkeypatch.setenv)
    return Adb()


def test_a_phone_says_what_it_is(client: Adb, phone: AdbDevice) -> None:
    found = read_phone(client.device(phone.address))
    assert (found.name, found.release, found.sdk) == ("Google Pixel 6", "14", 34)
    assert (found.abis[0], found.processor, found.cores) == ("arm64-v8a", "GS101", 8)
    assert found.frequencies == dict(enumerate(phone.phone.core_frequencies_khz))
    assert found.memory_bytes == 1024 * phone.phone.memory_kib
    assert found.free_bytes == 1024 * (phone.phone.storage_kib - phone.phone.used_kib)


def test_makers_are_not_named_twice(client: Adb, make_phone: Callable[..., AdbDevice]) -> None:
    phone = make_phone(phone=Phone(manufacturer="OnePlus", model="ONEPLUS A6000"))
    assert read_phone(client.device(phone.address)).name == "ONEPLUS A6000"


def test_what_a_phone_does_not_tell_is_not_known(client: Adb, phone: AdbDevice) -> None:
    for core in range(8):
        folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        for file in ("cpuinfo_max_freq", "scaling_governor"):
            phone.disk.host_path(f"{folder}/{file}").unlink(missing_ok=True)
    found = read_phone(client.device(phone.address))
    assert found.frequencies == {} and found.governor is None and found.cores == 8


def test_what_is_no_android_is_refused(client: Adb, phone: AdbDevice) -> None:
    phone.properties.pop("ro.build.version.sdk")
    with pytest.raises(DeviceRefusedError, match="does not answer 'getprop' as an Android phone"):
        read_phone(client.device(phone.address))


def test_conditions_are_read(client: Adb, phone: AdbDevice) -> None:
    phone.battery = Battery(level=42, usb_powered=False)
    phone.screen_on = False
    phone.thermal.cooling_per_second = 0.0
    phone.thermal.set_skin(44.0)
    found = read_conditions(client.device(phone.address))
    assert (found.battery_percent, found.charging, found.screen_on) == (42, False, False)
    assert found.thermal_status == 2
    assert found.celsius == pytest.approx(phone.thermal.read().battery, abs=0.1)


def test_boot_ids_change_with_a_restart(client: Adb, adb: AdbEnvironment, phone: AdbDevice) -> None:
    before = read_boot_id(client.device(phone.address))
    phone.reboot(0.0)
    adb.connect(phone.address)
    after = read_boot_id(client.device(phone.address))
    assert before and after and before != after


def test_all_reasons_are_told_at_once(client: Adb, make_phone: Callable[..., AdbDevice]) -> None:
    phone = read_phone(client.device(make_phone(phone=Phone(sdk=23, abis=("x86",))).address))
    with pytest.raises(DeviceRefusedError) as caught:
        check_phone(phone, Conditions(battery_percent=3, charging=False), NEEDS)
    for reason in ("too old", "the phone runs x86", "the battery has 3 %"):
        assert reason in str(caught.value)


def test_what_may_slow_a_phone_down_is_remarked(client: Adb, phone: AdbDevice) -> None:
    found = read_phone(client.device(phone.address))
    assert (
        check_phone(found, Conditions(thermal_status=0, screen_on=True, charging=False), NEEDS)
        == ()
    )
    remarks = check_phone(found, Conditions(screen_on=False, charging=True), NEEDS)
    assert len(remarks) == 3 and "throttling goes unnoticed" in remarks[2]
