"""Folders that look like the root of a machine: what /proc, /sys and /etc say on boards that are not here."""

from __future__ import annotations

from pathlib import Path

from dsrfau_edge.bench.host import Host

_X86 = "flags\t\t: fpu sse4_1 avx2 fma{more}\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def host(root: Path, machine: str, cores: int, answers: dict[str, str] | None = None) -> Host:
    return Host(root, lambda command: (answers or {}).get(command[0], ""), lambda: cores, machine, "Linux 6.1")


def jetson_orin(root: Path) -> Host:
    """Orin Nano developer kit: six Cortex-A78AE, rails behind an INA3221, nvpmodel."""
    block = "processor\t: {0}\nFeatures\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
    hwmon = "sys/class/hwmon/hwmon3"
    files = {
        "proc/cpuinfo": "\n".join(block.format(number) for number in range(6)),
        "proc/meminfo": "MemTotal:        7802996 kB\n",
        "proc/loadavg": "0.42 0.30 0.20 1/512 4242\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48250\n",
        "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "-256000\n",
        f"{hwmon}/name": "ina3221\n",
        f"{hwmon}/in1_label": "VDD_IN\n",
        f"{hwmon}/in1_input": "5000\n",
        f"{hwmon}/curr1_input": "1200\n",
        f"{hwmon}/in2_label": "VDD_CPU_GPU_CV\n",
        f"{hwmon}/in2_input": "5000\n",
        f"{hwmon}/curr2_input": "400\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
    }
    return host(write(root, files), "aarch64", 6, {"nvpmodel": "NV Power Mode: 15W\n0\n"})


def raspberry_pi_5(root: Path) -> Host:
    block = "processor\t: {0}\nFeatures\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    files = {
        "proc/cpuinfo": "\n".join(
            [*(block.format(number) for number in range(4)), "Revision : d04171\nModel : Raspberry Pi 5\n"]
        ),
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.1\0",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "61400\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    }
    return host(write(root, files), "aarch64", 4)


def intel_nuc(root: Path) -> Host:
    """A NUC with RAPL that root alone reads, an Intel GPU and NPU, governor powersave, four cores in a container."""
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) Ultra 7 155H\n"
        + _X86.format(more=" avx_vnni"),
        "sys/class/dmi/id/sys_vendor": "Intel(R) Client Systems\n",
        "sys/class/dmi/id/product_name": "NUC14RVHv7\n",
        "sys/class/drm/card0/device/vendor": "0x8086\n",
        "sys/class/accel/accel0/device/vendor": "0x8086\n",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
        "sys/class/powercap/intel-rapl:0/name": "package-0\n",
        "sys/class/powercap/intel-rapl:0/energy_uj": "1000000\n",
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
        "sys/class/powercap/intel-rapl:0:0/name": "core\n",
        "sys/class/powercap/intel-rapl:0:0/energy_uj": "700000\n",
        "proc/self/cgroup": "0::/docker/abc\n",
        "sys/fs/cgroup/docker/abc/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/docker/cpu.max": "max 100000\n",
        "sys/fs/cgroup/docker/abc/memory.max": "536870912\n",
    }
    return host(write(root, files), "x86_64", 4)


def amd_server(root: Path) -> Host:
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 9354\n"
        + _X86.format(more=" avx512f avx512_vnni avx512_bf16 hypervisor"),
        "sys/class/dmi/id/sys_vendor": "To be filled by O.E.M.\n",
        "sys/devices/system/cpu/cpufreq/boost": "1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/class/hwmon/hwmon0/name": "k10temp\n",
        "sys/class/hwmon/hwmon0/temp1_label": "Tctl\n",
        "sys/class/hwmon/hwmon0/temp1_input": "54875\n",
        "sys/class/hwmon/hwmon1/name": "amd_energy\n",
        "sys/class/hwmon/hwmon1/energy1_label": "Esocket0\n",
        "sys/class/hwmon/hwmon1/energy1_input": "5000000\n",
        "proc/self/cgroup": "4:cpu,cpuacct:/jobs\n0::/\n",
        "sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us": "800000\n",
        "sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us": "100000\n",
    }
    return host(write(root, files), "x86_64", 32)


def nothing(root: Path) -> Host:
    root.mkdir(parents=True, exist_ok=True)
    return host(root, "riscv64", 1)
