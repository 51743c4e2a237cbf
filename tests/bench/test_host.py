"""The machine as its files describe it: boards that are not here, and a root with nothing in it."""

from __future__ import annotations

import json
import sys

import machines
import pytest

from dsrfau_edge.bench import environment as env
from dsrfau_edge.bench.board import board
from dsrfau_edge.bench.host import Host, allowed_cores, clocks, processor, run_quietly, state
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu


def test_a_jetson(tmp_path):
    host = machines.jetson_orin(tmp_path)
    found = processor(host)
    assert found["cpu"] == "6x Cortex-A78AE"
    assert found["features"] == ["asimd", "asimdhp", "asimddp"]
    assert found["memory_bytes"] == 7802996 * 1024
    about = board(host)
    assert about["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert about["jetson"] == {
        "l4t": "36.4.3", "jetpack_guess": "6.2", "model": "NVIDIA Jetson Orin Nano Developer Kit",
        "power_mode": "15W", "power_mode_id": 0,
    }  # fmt: skip
    now = state(host)
    assert now["temperatures"] == {"cpu-thermal": 48.2}  # a zone that is off is left out
    assert (now["mhz"], now["load_average"]) == ([1510], 0.42)


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        ("# R32 (release), REVISION: 7.1, GCID: 1", "32.7.1", "4"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "35.4.1", "5"),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "36.4.0", "6.1"),
        ("# R36 (release), REVISION: 4.4, GCID: 1", "36.4.4", "6.2.1"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0", "7"),
    ],
)
def test_what_jetpack_a_release_is_probably_from(tmp_path, release, l4t, jetpack):
    host = machines.host(machines.write(tmp_path, {"etc/nv_tegra_release": release}), "aarch64", 4)
    found = board(host)["jetson"]
    assert (found["l4t"], found["jetpack_guess"], found["power_mode"]) == (l4t, jetpack, None)


def test_a_raspberry_pi(tmp_path):
    host = machines.raspberry_pi_5(tmp_path)
    assert processor(host)["cpu"] == "4x Cortex-A76"
    assert board(host) == {"model": "Raspberry Pi 5 Model B Rev 1.1", "jetson": None, "virtual": None}
    assert clocks(host)["governor"] == "ondemand"
    assert state(host)["temperatures"] == {"cpu-thermal": 61.4}


def test_a_nuc_in_a_container(tmp_path):
    host = machines.intel_nuc(tmp_path)
    found = processor(host)
    assert found["cpu"] == "Intel(R) Core(TM) Ultra 7 155H"
    assert (found["cores"], found["allowed_cores"], found["cpu_limit"]) == (2, 4, 1.5)
    assert found["memory_limit_bytes"] == 512 << 20
    chosen = clocks(host)
    assert (chosen["governor"], chosen["frequency_driver"], chosen["turbo"]) == ("powersave", "intel_pstate", True)
    assert board(host)["model"] == "Intel(R) Client Systems NUC14RVHv7"
    graphics = env.gpus(host, Driver)
    assert (graphics["graphics"], graphics["neural"], graphics["gpus"]) == (["Intel"], ["Intel"], [])


def test_an_amd_server(tmp_path):
    host = machines.amd_server(tmp_path)
    found = processor(host)
    assert "avx512_bf16" in found["features"]
    assert (found["cores"], found["cpu_limit"]) == (8, 8.0)
    assert clocks(host)["turbo"] is True
    assert board(host)["model"] is None
    assert board(host)["virtual"] is True
    assert state(host)["temperatures"] == {"k10temp Tctl": 54.9}


def test_a_machine_that_tells_nothing(tmp_path):
    host = machines.nothing(tmp_path / "empty")
    block = env.environment(host, Driver)
    assert (block["cpu"], block["cores"], block["governor"], block["turbo"]) == ("riscv64", 1, None, None)
    assert state(host) == {"load_average": None, "mhz": [], "temperatures": {}, "throttled": None}
    assert json.loads(json.dumps(block)) == block
    assert any("not readable" in line for line in env.summary(block))


def test_files_of_nonsense_are_no_trouble(tmp_path):
    files = {
        "proc/cpuinfo": "\0\0:::\n\n::\n", "proc/loadavg": "many", "proc/meminfo": "MemTotal: lots",
        "proc/self/cgroup": "x\n0::/../../etc\n7:cpu\n", "sys/fs/cgroup/cpu.max": "0 0", "etc/nv_tegra_release": "R",
        "sys/class/thermal/thermal_zone0/temp": "nan", "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }  # fmt: skip
    host = machines.host(machines.write(tmp_path, files), "x86_64", 2)
    (tmp_path / "sys/class/hwmon/hwmon0").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon0/temp1_input").mkdir()
    block = env.environment(host, Driver)
    assert (block["cores"], block["cpu_limit"], block["board"]["jetson"]) == (2, None, None)
    assert state(host)["temperatures"] == {}


def test_gpus_of_the_driver_are_told(tmp_path):
    host = machines.jetson_orin(tmp_path)
    block = env.environment(host, lambda: Driver((Gpu(0, "Orin", 87, 8 << 30),), "12.6"))
    lines = "\n".join(env.summary(block))
    assert "GPU: Orin, compute capability 8.7, 8.0 GiB, CUDA 12.6" in lines
    assert "Jetson Linux (L4T) 36.4.3, probably JetPack 6.2 (guessed from that), power mode 15W" in lines


def test_this_machine():
    block = env.environment()
    assert block["cores"] >= 1
    assert block["cpu"]
    assert "numpy" in block["packages"]
    assert env.lookup(block, "board.jetson.power_mode") is None or isinstance(block["board"]["jetson"], dict)
    assert allowed_cores() >= block["cores"]
    assert Host().number("proc/self/no such file") is None


def test_programs_that_are_missing_fail_or_hang_give_nothing(monkeypatch):
    from dsrfau_edge.bench import host

    assert run_quietly(["no-such-program-here"]) == ""
    assert run_quietly([sys.executable, "-c", "print('said'); raise SystemExit(3)"]) == ""
    assert run_quietly([sys.executable, "-c", "print('said')"]) == "said\n"
    monkeypatch.setattr(host, "_SECONDS", 0.2)
    assert run_quietly([sys.executable, "-c", "import time; time.sleep(60)"]) == ""
