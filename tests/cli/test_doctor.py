"""`dsrfau-doctor`: what it reports on boards that are not here, and how it ends."""

from __future__ import annotations

import json
import sys
import threading

import machines
import pytest
from calling import call

from dsrfau_edge.bench import devices as asking
from dsrfau_edge.bundle import Bundle
from dsrfau_edge.cli import doctor
from dsrfau_edge.runtimes import cuda_driver, registry
from dsrfau_edge.runtimes.base import Availability
from dsrfau_edge.runtimes.cuda_driver import Driver, Gpu
from dsrfau_edge.runtimes.registry import choose


class Fake:
    formats = ("onnx",)

    def __init__(self, name="onnxruntime", answer=None):
        self.name, self._answer = name, answer or (lambda: Availability(ok=True, version="1"))

    def availability(self, device=None):
        return self._answer()


@pytest.fixture
def machine(monkeypatch, tmp_path, tiny_bundle):
    """Examine a machine that is made up; gives the report and the text."""

    def examined(make, driver=None, **runtimes):
        host = make(tmp_path / "root")
        monkeypatch.setattr(doctor, "_host", lambda: host)
        monkeypatch.setattr(cuda_driver, "driver", lambda: driver or Driver(reason="There is no NVIDIA driver."))
        known = {name: Fake(name) for name in ("onnxruntime", *runtimes)}
        monkeypatch.setattr(registry, "runtimes", lambda: known)
        monkeypatch.setattr(asking, "_ASK", {name: lambda names=names: names for name, names in runtimes.items()})
        report, error = doctor.examine(host, tiny_bundle)
        assert error is None
        done = call("doctor", "--bundle", tiny_bundle)
        assert done.code == 0, done.err
        return report, done.out

    return examined


def chosen(bundle):
    return choose(Bundle.open(bundle).model_files()).runtime.name


def test_this_machine_as_json(tiny_bundle):
    done = call("doctor", "--bundle", tiny_bundle, "--json")
    report = json.loads(done.out)
    assert done.code == 0
    assert report["device"]["cores"] >= 1
    assert report["opencv"]["ok"]
    assert report["runtimes"]["onnxruntime"]["devices"][-1] == "CPUExecutionProvider"
    assert report["bundle"]["runtime"] == chosen(tiny_bundle)
    named = {item["name"] for item in report["bundle"]["rejected"]}
    assert named >= {"onnxruntime", "openvino", "tensorrt"} - {chosen(tiny_bundle)}
    assert all(item["reason"] and item["fix"] for item in report["bundle"]["rejected"])
    for runtime in report["runtimes"].values():
        assert runtime["ok"] or (runtime["reason"] and runtime["fix"])


def test_this_machine_as_text(tiny_bundle):
    done = call("doctor", "--bundle", tiny_bundle)
    assert (done.code, done.err) == (0, "")
    assert f"would run in {chosen(tiny_bundle)} (onnx fp32): " in done.out
    assert "CPU features:" in done.out
    assert "not in tensorrt:" in done.out


def test_a_jetson(machine):
    report, text = machine(machines.jetson_orin, Driver((Gpu(0, "Orin", 87, 8 << 30),), "12.6"))
    assert report["device"]["board"]["jetson"]["l4t"] == "36.4.3"
    assert "Jetson: NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux (L4T) 36.4.3, probably JetPack 6.2" in text
    assert "power mode 15W, not its fastest" in text
    assert "sudo nvpmodel -m ID" in text
    assert "GPU: Orin, compute capability 8.7, 8.0 GiB, CUDA 12.6" in text
    assert "driver does not answer" not in text


def test_a_jetson_in_a_container_without_its_gpu(machine):
    _, text = machine(machines.jetson_orin)
    assert "docker run --runtime nvidia" in text


def test_a_raspberry_pi(machine):
    def low_voltage(root):
        host = machines.raspberry_pi_5(root)
        answers = {"vcgencmd": "throttled=0x50005\n"}
        return machines.host(host.root, "aarch64", 4, answers)

    report, text = machine(low_voltage)
    assert "Raspberry Pi 5 Model B Rev 1.1, 4x Cortex-A76, 4 cores usable, governor ondemand" in text
    assert [hint["problem"] for hint in report["hints"]] == [
        "The supply voltage was too low since the start.", "The clock was throttled since the start.",
    ]  # fmt: skip
    assert "Now: cpu-thermal 61.4 °C" in text


def test_a_nuc_in_a_container(machine):
    _, text = machine(machines.intel_nuc, openvino=["CPU (Intel(R) Core(TM) Ultra 7 155H)"])
    for said in (
        "The governor powersave lets the clock follow the load only slowly.",
        "sudo cpupower frequency-set -g performance",
        "leaves 1.5 processors' worth of 4 cores",
        "threads=1 (--threads)",
        "may use 512 MiB",
        "an Intel GPU, which OpenVINO does not find",
        "sudo apt-get install intel-opencl-icd",
        "an Intel NPU, which OpenVINO does not find",
        "Graphics: Intel",
        "Limits of the container or control group: 1.5 processors' worth of 4 cores, 0.5 GiB of memory",
    ):
        assert said in text


def test_a_nuc_whose_gpu_is_found(machine):
    _, text = machine(machines.intel_nuc, openvino=["CPU (x)", "GPU.0 (Arc)", "NPU (AI Boost)"])
    assert "does not find" not in text


def test_an_amd_server(machine):
    report, text = machine(machines.amd_server)
    assert "AMD EPYC 9354, 8 cores usable, governor performance, turbo on" in text
    assert [hint["problem"][:17] for hint in report["hints"]] == ["A control group ("]


def test_a_machine_that_tells_nothing(machine):
    report, text = machine(machines.nothing)
    assert "board unknown, riscv64, 1 core usable, governor not readable, turbo not readable" in text
    assert report["hints"] == []


def test_a_hot_and_busy_machine_without_int8(machine):
    def hot(root):
        host = machines.raspberry_pi_5(root)
        old = "Features\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
        files = {"sys/class/thermal/thermal_zone0/temp": "91000", "proc/loadavg": "9.5 1 1", "proc/cpuinfo": old}
        machines.write(root, files)
        return host

    _, text = machine(hot)
    assert "hot (cpu-thermal 91 °C)" in text
    assert "load average 9.5 on 4 cores" in text
    assert "no int8 dot products" in text


def test_without_any_runtime_the_report_still_comes(tiny_bundle, monkeypatch):
    missing = Fake(answer=lambda: Availability(ok=False, reason="onnxruntime is not installed.", fix="pip install it"))
    monkeypatch.setattr(registry, "runtimes", lambda: {"onnxruntime": missing})
    done = call("doctor", "--bundle", tiny_bundle)
    assert done.code == 3
    assert "onnxruntime: no. onnxruntime is not installed. pip install it" in done.out


def test_a_runtime_that_hangs_or_raises_is_reported_as_that(tiny_bundle, monkeypatch):
    released = threading.Event()

    def hang():
        released.wait(60)
        return Availability(ok=False)

    def fail():
        raise OSError("libodd.so.1: cannot open shared object file")

    known = {"onnxruntime": Fake(), "odd": Fake("odd", fail), "slow": Fake("slow", hang)}
    monkeypatch.setattr(registry, "runtimes", lambda: known)
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    monkeypatch.setattr(doctor, "_CHOICE_SECONDS", 0.3)
    try:
        done = call("doctor", "--bundle", tiny_bundle, "--json")
    finally:
        released.set()
    report = json.loads(done.out)
    assert "libodd.so.1" in report["runtimes"]["odd"]["reason"]
    assert "did not answer within 0.3 s" in report["runtimes"]["slow"]["reason"]
    assert done.code == 1
    assert "cannot be made" in report["bundle"]["reason"]


def test_opencv_without_its_system_libraries(tiny_bundle, monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "cv2":
                raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert doctor._opencv()["fix"].startswith("Debian, Ubuntu: sudo apt-get install libgl1")


def test_a_bundle_that_cannot_be_read_ends_in_exit_code_5(tmp_path):
    done = call("doctor", "--bundle", tmp_path / "absent.dsrfau", "--json")
    assert (done.code, "no bundle" in done.err) == (5, True)
    assert "no bundle" in json.loads(done.out)["bundle"]["reason"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.json").write_text("{")
    assert call("doctor", "--bundle", tmp_path / "run").code == 5
