"""The Android tools of the simulated phone, as its shell runs them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_device import AdbDevice, AdbEnvironment, Battery, Instrumentation, Phone, make_apk

MakePhone = Callable[..., AdbDevice]
Shell = Callable[[str], str]

TMP = "/data/local/tmp"
PACKAGE = "org.example.app"
RUNNER = f"{PACKAGE}/{PACKAGE}.Runner"


@pytest.fixture
def shell(adb: AdbEnvironment, phone: AdbDevice) -> Shell:
    """Runs a command that must succeed, and returns its output."""

    def run(command: str) -> str:
        result = adb.shell(phone.address, command)
        assert result.returncode == 0, result.stderr.decode()
        assert result.stderr == b""
        return result.stdout.decode()

    return run


# Properties and state of the phone.


def test_getprop_prints_properties(shell: Shell, phone: AdbDevice) -> None:
    assert shell("getprop ro.product.cpu.abilist") == "arm64-v8a,armeabi-v7a,armeabi\n"
    assert shell("getprop ro.serialno") == f"{phone.serial}\n"
    assert shell("getprop no.such.property") == "\n"
    assert shell("getprop no.such.property other") == "other\n"
    lines = shell("getprop").splitlines()
    assert "[ro.build.version.sdk]: [34]" in lines
    assert all(re.fullmatch(r"\[.+\]: \[.*\]", line) for line in lines)


def test_dumpsys_prints_the_battery(shell: Shell, phone: AdbDevice) -> None:
    phone.battery = Battery(level=37, usb_powered=False)
    lines = shell("dumpsys battery").splitlines()
    assert lines[0] == "Current Battery Service state:"
    for line in ("  USB powered: false", "  status: 3", "  level: 37", "  temperature: 270"):
        assert line in lines
    shell("dumpsys battery set level 80; dumpsys battery set usb 1")
    assert phone.battery == Battery(level=80, usb_powered=True)


def test_dumpsys_prints_temperatures(shell: Shell, phone: AdbDevice) -> None:
    assert "Thermal Status: 0\n" in shell("dumpsys thermalservice")
    phone.thermal.set_skin(45.2)
    phone.thermal.cooling_per_second = 0.0
    text = shell("dumpsys thermalservice")
    assert "\nThermal Status: 3\n" in text
    now = text.partition("Current temperatures from HAL:\n")[2]
    assert "\tTemperature{mValue=45.200, mType=3, mName=VIRTUAL-SKIN, mStatus=3}\n" in now
    shell("cmd thermalservice override-status 5")
    text = shell("dumpsys thermalservice")
    assert "IsStatusOverride: true\n" in text and "\nThermal Status: 5\n" in text


def test_the_screen_follows_keys_and_power(shell: Shell, phone: AdbDevice) -> None:
    shell("input keyevent KEYCODE_SLEEP")
    assert "  mWakefulness=Asleep\n" in shell("dumpsys power")
    assert "screenState=SCREEN_STATE_OFF" in shell("dumpsys window policy")
    shell("input keyevent 224; svc power stayon usb")
    text = shell("dumpsys power")
    assert "  mWakefulness=Awake\n" in text and "  mStayOn=true\n" in text
    assert phone.settings["global/stay_on_while_plugged_in"] == "2"


def test_settings_are_read_and_written(shell: Shell) -> None:
    assert shell("settings get system screen_off_timeout") == "null\n"
    shell("settings put system screen_off_timeout 600000")
    assert shell("settings get system screen_off_timeout") == "600000\n"
    assert shell("settings delete system screen_off_timeout") == "Deleted 1 rows\n"


def test_df_is_toyboxs(shell: Shell) -> None:
    assert shell("df -k /data/local/tmp") == (
        "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
        "/dev/block/dm-47 113183308 20464616  92718692  19% /data\n"
    )
    assert shell("df -h /sdcard").splitlines()[1] == (
        "/dev/block/dm-47 108G   20G   88G  19% /data"
    )


def test_cores_and_files_of_proc(shell: Shell) -> None:
    frequencies = shell("cat /sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq").split()
    assert frequencies == ["1803000"] * 4 + ["2253000"] * 2 + ["2802000"] * 2
    assert shell("cat /sys/devices/system/cpu/present; nproc") == "0-7\n8\n"
    assert shell("grep -c ^processor /proc/cpuinfo") == "8\n"
    assert shell("grep MemTotal /proc/meminfo") == "MemTotal:        7760648 kB\n"


def test_taskset_checks_the_mask_against_the_phones_cores(
    adb: AdbEnvironment, phone: AdbDevice
) -> None:
    good = adb.shell(phone.address, "taskset c0 sh -c 'echo ran; exit 3'")
    assert (good.returncode, good.stdout) == (3, b"ran\n")
    for mask, message in (("f00", b"Invalid argument"), ("cores", b"bad mask 'cores'")):
        bad = adb.shell(phone.address, f"taskset {mask} echo ran")
        assert (bad.returncode, bad.stdout) == (1, b"")
        assert message in bad.stderr
    assert phone.commands[0] == ["taskset", "c0", "sh", "-c", "echo ran; exit 3"]


def test_who_runs_commands(shell: Shell) -> None:
    assert shell("id").startswith("uid=2000(shell) gid=2000(shell) groups=2000(shell),")
    assert shell("whoami; uname -m; getenforce") == "shell\naarch64\nEnforcing\n"


def test_sleep_follows_the_devices_clock(adb: AdbEnvironment, make_phone: MakePhone) -> None:
    phone = make_phone(clock_speed=100_000.0)
    assert adb.shell(phone.address, "sleep 1h", timeout=30).returncode == 0


# Processes.


def test_only_the_devices_processes_are_seen(
    shell: Shell, adb: AdbEnvironment, phone: AdbDevice
) -> None:
    names = [line.split()[-1] for line in shell("ps -A").splitlines()[1:]]
    assert "ps" in names and not any("pytest" in name for name in names)
    shell("nohup sleep 1000 > /dev/null 2>&1 &")
    assert shell("pidof sleep").strip() == shell("pgrep sleep").strip()
    shell("pkill -f '[s]leep 1000'")
    assert adb.shell(phone.address, "pidof sleep").returncode == 1
    for command in ("pkill pytest", "pkill -f python", "killall systemd", "pgrep -f conftest"):
        assert adb.shell(phone.address, command).returncode != 0


# Files.


def test_file_tools_reach_nothing_else(
    adb: AdbEnvironment, phone: AdbDevice, tmp_path: Path
) -> None:
    victim = tmp_path / "folder/victim"
    victim.parent.mkdir()
    victim.write_text("host")
    phone.disk.host_path(f"{TMP}/link").symlink_to(tmp_path)
    dots = "../" * 12
    for path in (
        f"{victim}",
        f"{TMP}/{dots}{victim}",
        f"{TMP}/link/folder/victim",
        f"$(echo {victim})",
        f'"$HOME"/..{victim}',
    ):
        for command in ("rm -rf", "cat", "chmod 777", "cp -r /system/bin/id", "mv /sdcard"):
            result = adb.shell(phone.address, f"cd {TMP}; {command} {path}")
            assert result.returncode != 0 and b"host" not in result.stdout, (command, path)
    adb.shell(phone.address, f"rm -rf {TMP}/link /* / {dots}; cd {TMP} && rm -rf .. ../..")
    assert victim.read_text() == "host"
    assert adb.shell(phone.address, "id").returncode == 0


def test_a_link_is_removed_itself(shell: Shell, phone: AdbDevice, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    phone.disk.host_path(f"{TMP}/link").symlink_to(tmp_path)
    shell(f"rm -rf {TMP}/link")
    assert (tmp_path / "kept").exists()


def test_messages_name_the_devices_paths(adb: AdbEnvironment, phone: AdbDevice) -> None:
    result = adb.shell(phone.address, f"ls {TMP}/none; cat /etc/passwd; rm /system/bin/id")
    assert result.stderr.decode().splitlines() == [
        f"ls: cannot access '{TMP}/none': No such file or directory",
        "cat: /etc/passwd: No such file or directory",
        "rm: /system/bin/id: Permission denied",
    ]


def test_a_pushed_script_is_run_by_sh(shell: Shell, phone: AdbDevice) -> None:
    script = phone.disk.host_path(f"{TMP}/script")
    script.write_text(f'echo "$0 $1 $#" > {TMP}/out\ncat {TMP}/out\n')
    assert shell(f"sh {TMP}/script 'a b' c") == f"{TMP}/script a b 2\n"
    assert shell(f"cd {TMP}; sh script a") == "script a 1\n"


# Apps.


@pytest.fixture
def apk(tmp_path: Path) -> Path:
    """An app with an instrumentation."""
    return make_apk(tmp_path / "app.apk", PACKAGE, f"{PACKAGE}.Runner", abis=("arm64-v8a",))


@pytest.mark.parametrize(
    "features",
    [
        ("shell_v2", "cmd", "abb_exec"),
        ("shell_v2", "cmd"),
        (),
    ],
    ids=["abb", "exec", "push"],
)
def test_installing_and_removing(
    adb: AdbEnvironment, make_phone: MakePhone, apk: Path, features: tuple[str, ...]
) -> None:
    phone = make_phone(features=features)
    result = adb.run("install", "-r", "-t", apk, serial=phone.address)
    assert result.returncode == 0 and b"Success" in result.stdout
    assert phone.packages.installed[PACKAGE].apk == apk.read_bytes()
    assert adb.shell(phone.address, "pm list packages").stdout == b"package:org.example.app\n"
    assert list(phone.disk.host_path(TMP).iterdir()) == []
    assert b"Success" in adb.run("uninstall", PACKAGE, serial=phone.address).stdout
    assert phone.packages.installed == {}
    assert b"Failure" in adb.run("uninstall", PACKAGE, serial=phone.address).stdout


def test_what_cannot_be_installed(
    adb: AdbEnvironment, make_phone: MakePhone, apk: Path, tmp_path: Path
) -> None:
    def failure(phone: AdbDevice, file: Path) -> str:
        result = adb.run("install", file, serial=phone.address)
        assert result.returncode == 1
        return result.stderr.decode()

    phone = make_phone()
    (tmp_path / "text.apk").write_text("no app")
    assert "INSTALL_PARSE_FAILED_NOT_APK" in failure(phone, tmp_path / "text.apk")
    phone.packages.install_failure = "INSTALL_FAILED_USER_RESTRICTED: Install canceled by user"
    assert "[INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]" in failure(phone, apk)
    phone.packages.install_failure = None
    phone.faults.disk_full(10)
    assert "INSTALL_FAILED_INSUFFICIENT_STORAGE" in failure(phone, apk)
    other = make_phone(phone=Phone(abis=("x86_64",)))
    assert "INSTALL_FAILED_NO_MATCHING_ABIS" in failure(other, apk)


def test_an_instrumentation_runs_and_reports(
    adb: AdbEnvironment, phone: AdbDevice, shell: Shell, apk: Path
) -> None:
    adb.run("install", apk, serial=phone.address)
    assert shell("pm list instrumentation") == f"instrumentation:{RUNNER} (target={PACKAGE})\n"

    def run(instrumentation: Instrumentation) -> None:
        instrumentation.status(1, stage="detector")
        instrumentation.results["result"] = f"{instrumentation.extras['runs']} runs"

    phone.packages.runners[RUNNER] = run
    command = f"am instrument -w -r -e runs 5 {PACKAGE}/.Runner"
    assert shell(command) == (
        "INSTRUMENTATION_STATUS: stage=detector\n"
        "INSTRUMENTATION_STATUS_CODE: 1\n"
        "INSTRUMENTATION_RESULT: result=5 runs\n"
        "INSTRUMENTATION_CODE: -1\n"
    )

    def crash(instrumentation: Instrumentation) -> None:
        raise RuntimeError("no OpenGL")

    phone.packages.runners[RUNNER] = crash
    assert "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\n" in shell(command)


def test_an_instrumentation_that_is_not_there(adb: AdbEnvironment, phone: AdbDevice) -> None:
    result = adb.shell(phone.address, f"am instrument -w {PACKAGE}/.Runner")
    assert result.returncode == 1
    assert f"Unable to find instrumentation info for: ComponentInfo{{{RUNNER}}}" in (
        result.stdout.decode()
    )
