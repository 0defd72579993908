"""The model of a phone: its properties, cores, memory and pseudo-files."""

import dataclasses
from typing import Final

ARM64_ABIS: Final = ("arm64-v8a", "armeabi-v7a", "armeabi")


@dataclasses.dataclass(frozen=True)
class Phone:
    """A model of phone; the defaults are those of a Pixel 6 with Android 14.

    Attributes:
      abis: Supported ABIs, the preferred one first.
      core_frequencies_khz: Maximum frequency of each core, in the system's order.
      storage_kib: Size of the data partition.
      memory_kib: RAM.
      has_gpu: Whether the GPU delegate works.
      has_nnapi: Whether it has NNAPI, which Android 15 deprecates.
    """

    manufacturer: str = "Google"
    model: str = "Pixel 6"
    device: str = "oriole"
    platform: str = "gs101"
    soc: str = "GS101"
    android: str = "14"
    sdk: int = 34
    build: str = "UQ1A.240205.002"
    abis: tuple[str, ...] = ARM64_ABIS
    core_frequencies_khz: tuple[int, ...] = (1803000,) * 4 + (2253000,) * 2 + (2802000,) * 2
    storage_kib: int = 113_183_308
    used_kib: int = 20_464_616
    memory_kib: int = 7_760_648
    has_gpu: bool = True
    has_nnapi: bool = True

    def properties(self, serial: str) -> dict[str, str]:
        """Returns the properties that getprop lists."""
        brand = self.manufacturer.lower()
        wide = [abi for abi in self.abis if "64" in abi]
        return {
            "dalvik.vm.isa.arm64.variant": "cortex-a55",
            "init.svc.adbd": "running",
            "persist.sys.timezone": "Europe/Berlin",
            "ro.board.platform": self.platform,
            "ro.boot.serialno": serial,
            "ro.build.characteristics": "nosdcard",
            "ro.build.fingerprint": (
                f"{brand}/{self.device}/{self.device}:{self.android}/{self.build}/11224170:"
                "user/release-keys"
            ),
            "ro.build.id": self.build,
            "ro.build.type": "user",
            "ro.build.version.release": self.android,
            "ro.build.version.sdk": str(self.sdk),
            "ro.build.version.security_patch": "2024-02-05",
            "ro.debuggable": "0",
            "ro.hardware": self.device,
            "ro.product.board": self.device,
            "ro.product.brand": brand,
            "ro.product.cpu.abi": self.abis[0],
            "ro.product.cpu.abilist": ",".join(self.abis),
            "ro.product.cpu.abilist32": ",".join(a for a in self.abis if a not in wide),
            "ro.product.cpu.abilist64": ",".join(wide),
            "ro.product.device": self.device,
            "ro.product.manufacturer": self.manufacturer,
            "ro.product.model": self.model,
            "ro.product.name": self.device,
            "ro.serialno": serial,
            "ro.soc.manufacturer": self.manufacturer,
            "ro.soc.model": self.soc,
        }

    def pseudo_files(self) -> dict[str, str]:
        """Returns the files of /proc and /sys that describe the phone, by path."""
        cores = self.core_frequencies_khz
        everything = f"0-{len(cores) - 1}\n"
        files = {
            "proc/cpuinfo": "".join(
                f"processor\t: {core}\nBogoMIPS\t: 49.15\nFeatures\t: fp asimd evtstrm aes pmull "
                "sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"
                "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x2\n"
                "CPU part\t: 0xd05\nCPU revision\t: 0\n\n"
                for core in range(len(cores))
            ),
            "proc/meminfo": (
                f"MemTotal:       {self.memory_kib:8} kB\n"
                f"MemFree:        {self.memory_kib // 8:8} kB\n"
                f"MemAvailable:   {self.memory_kib // 2:8} kB\n"
            ),
            "proc/loadavg": "0.52 0.41 0.30 1/4212 17023\n",
            "proc/version": (
                "Linux version 5.10.189-android13-4-00001-g1234567 (build-user@build-host) "
                "#1 SMP PREEMPT\n"
            ),
            **{
                f"sys/devices/system/cpu/{name}": everything
                for name in ("possible", "present", "online")
            },
        }
        for core, highest in enumerate(cores):
            folder = f"sys/devices/system/cpu/cpu{core}"
            files |= {
                f"{folder}/cpufreq/cpuinfo_max_freq": f"{highest}\n",
                f"{folder}/cpufreq/cpuinfo_min_freq": "300000\n",
                f"{folder}/cpufreq/scaling_max_freq": f"{highest}\n",
                f"{folder}/cpufreq/scaling_cur_freq": "300000\n",
                f"{folder}/cpufreq/scaling_governor": "sched_pixel\n",
                f"{folder}/cpu_capacity": f"{1024 * highest // max(cores)}\n",
            }
        return files
